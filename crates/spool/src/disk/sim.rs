//! Power failures, torn writes and failing syncs in memory.
