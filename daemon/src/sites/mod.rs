//! Sites: a folder that was published, served as it is. What is served is a copy, made at once and replaced at once, so
//! nobody reads a page that is half written, and the daemon needs no rights where its owner works.

pub mod folder;
mod media;
pub mod paths;
pub mod record;
pub mod server;
