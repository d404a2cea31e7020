-- Runs once, on an empty server. The shop's role owns its databases and is no superuser. The
-- superuser loses its password, so it cannot log in over the network.
\set password `cat /secrets/password`
CREATE ROLE surge LOGIN CREATEDB PASSWORD :'password';
ALTER ROLE postgres PASSWORD NULL;
\connect template1
CREATE EXTENSION pg_stat_statements;
