//! A person hosts spaces on a box: real daemons without root, the real command line, real sockets.

mod backups;
mod client;
mod daemon;
mod exports;
mod home;
mod http;
mod invitations;
mod kills;
mod metrics;
mod names;
mod sites;
mod spaces;
mod web;
