//! The daemon and its command line, from outside. One program, because each one more is linked with everything anew.

mod config;
mod control;
mod hosting;
mod init;
mod offload;
mod streams;
mod uci;
mod userspace;
