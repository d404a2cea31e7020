-- PostgreSQL indexes primary keys and UNIQUE columns, but not foreign keys:
-- until now every look at a product's reviews read all reviews.

-- A product's newest reviews, already in order. It covers the average as well: with the
-- stars in the index, the rows themselves need not be read.
CREATE INDEX reviews_newest ON reviews (product_id, created_at DESC, id DESC) INCLUDE (stars);

-- Products in the two orders that pages are cut from, within a category and overall:
-- the database reads the first rows of an index and stops.
CREATE INDEX products_newest ON products (category, created_at DESC, id DESC);
CREATE INDEX products_price ON products (category, price_cents, id);
CREATE INDEX products_newest_overall ON products (created_at DESC, id DESC);
CREATE INDEX products_price_overall ON products (price_cents, id);

-- The orders get none. A report sums up a twentieth of them, and reading them all in one go is
-- probably quicker than looking up every twentieth. So the planner would probably not touch the
-- index, yet every order would pay for it.
