-- Reads of a product as it is in `held`, and commits of a change, wait for a lock of the test.
CREATE TABLE held (product_id integer, price_cents integer);
ALTER TABLE sellers RENAME TO sellers_of_all;
CREATE VIEW sellers AS SELECT * FROM sellers_of_all AS seller
WHERE NOT EXISTS (
    SELECT FROM held JOIN products USING (price_cents)
    WHERE products.id = product_id AND seller_id = seller.id
) OR pg_advisory_xact_lock_shared(1) IS NOT NULL;
CREATE FUNCTION wait_to_commit() RETURNS trigger LANGUAGE plpgsql AS
    'BEGIN PERFORM pg_advisory_xact_lock_shared(2); RETURN NULL; END';
CREATE CONSTRAINT TRIGGER slowly AFTER UPDATE ON products
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION wait_to_commit();
