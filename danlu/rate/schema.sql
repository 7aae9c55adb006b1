CREATE TABLE settings (name TEXT PRIMARY KEY, value TEXT NOT NULL);  -- JSON: raters, seed, rubric, secret
CREATE TABLE models (id INTEGER PRIMARY KEY, name TEXT NOT NULL);
CREATE TABLE prompts (id INTEGER PRIMARY KEY, text TEXT NOT NULL);
CREATE TABLE answers (prompt INTEGER NOT NULL REFERENCES prompts, model INTEGER NOT NULL REFERENCES models,
    text TEXT NOT NULL, PRIMARY KEY (prompt, model));
CREATE TABLE items (id INTEGER PRIMARY KEY, prompt INTEGER NOT NULL REFERENCES prompts,
    first INTEGER NOT NULL REFERENCES models, second INTEGER REFERENCES models, flipped INTEGER NOT NULL);
CREATE TABLE raters (id INTEGER PRIMARY KEY, name TEXT NOT NULL, folded TEXT NOT NULL UNIQUE, token TEXT NOT NULL UNIQUE);
CREATE TABLE held (rater INTEGER PRIMARY KEY REFERENCES raters, item INTEGER NOT NULL REFERENCES items, since REAL NOT NULL);
CREATE TABLE ratings (id INTEGER PRIMARY KEY, rater INTEGER NOT NULL REFERENCES raters,
    item INTEGER NOT NULL REFERENCES items, swapped INTEGER NOT NULL, seconds REAL, at TEXT NOT NULL,
    changed INTEGER NOT NULL DEFAULT 0, UNIQUE (rater, item));
CREATE TABLE marks (rating INTEGER NOT NULL REFERENCES ratings, criterion TEXT NOT NULL, value NOT NULL,
    PRIMARY KEY (rating, criterion));
CREATE VIEW readable AS
    SELECT raters.name AS rater, prompts.text AS prompt, one.name AS first, other.name AS second,
        marks.criterion, marks.value, ratings.swapped, ratings.seconds, ratings.at
    FROM marks JOIN ratings ON ratings.id = marks.rating JOIN raters ON raters.id = ratings.rater
        JOIN items ON items.id = ratings.item JOIN prompts ON prompts.id = items.prompt
        JOIN models AS one ON one.id = items.first LEFT JOIN models AS other ON other.id = items.second;
