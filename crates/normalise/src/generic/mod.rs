//! What is said of a record that no parser reads: when it happened, which host it names and which addresses, as far as its
//! shape says so. Nothing is guessed beyond that.
