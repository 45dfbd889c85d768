//! Neighbourhoods of real daemons in network namespaces. They need root and a machine's whole attention, one after the
//! other: `cargo test --workspace --test labs -- --test-threads 1`.

mod doors;
mod full_disk;
mod idle;
mod neighbourhoods;
mod programs;
mod scenarios;
mod spaces;
mod tidy;
