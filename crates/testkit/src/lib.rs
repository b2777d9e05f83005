//! Dev only: simulated disk, fuzz list, fake third parties, test server.

pub mod disk;
pub mod fuzz;
pub mod third_party;
