-- A COMMIT waits for a lock of the test, and heeds no cancel request, as one that waits for a disk or
-- for a standby: the session must not be rolled back because its client has gone.
CREATE FUNCTION wait_to_commit() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    LOOP
        BEGIN
            PERFORM pg_advisory_xact_lock_shared(1);
            RETURN NULL;
        EXCEPTION WHEN query_canceled THEN NULL;
        END;
    END LOOP;
END $$;
CREATE CONSTRAINT TRIGGER slowly AFTER UPDATE ON products
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_to_commit();
