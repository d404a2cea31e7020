-- For the queue's own tables. A job that no worker can read would end each worker that fetches it,
-- and each rescuer that finds it after them, so it is refused. Arguments of ours are numbers, and
-- lists as long as a batch; a list in a list is none of ours.
ALTER TABLE procrastinate_jobs ADD CONSTRAINT args_are_small_and_flat CHECK (
    jsonb_typeof(args) = 'object' AND length(args::text) <= 30000
    AND NOT args @? '$.**{3 to last}'
);
