//! A person hosts spaces on a box: real daemons without root, the real command line, real sockets.

mod backups;
mod client;
mod daemon;
mod exports;

mod spaces;
