//! The control socket: one JSON request a line, one JSON answer a line, for this user alone. Answers are codes and
//! values; sentences are made by whoever shows them.

pub mod answers;
pub mod client;
pub mod protocol;
pub mod server;
