//! What comes in as a resource and what is kept of it.
