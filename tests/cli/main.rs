//! The command line on good and on bad input: what a user reads, and that nothing is lost. A file per topic.
#![allow(clippy::disallowed_methods)]

mod app;
mod archives;
mod cache;
#[path = "../command/mod.rs"]
mod command;
mod config;
mod disk_full;
mod fetch;
mod host;
mod image;
mod interrupt;
mod keys;
mod lock;
mod plan;
mod readme;
mod server;
mod repo;
mod signing;
mod simulate;
mod source;
mod task;
mod tiny;
mod together;
mod tutorial;
