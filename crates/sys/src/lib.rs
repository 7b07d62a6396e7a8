//! The Linux system calls that have no safe wrapper elsewhere: the only unsafe code of the project.
//!
//! Invariant: every `unsafe` block says why it is sound; nothing unsafe is part of the public interface.

mod answer;
pub mod audit;
pub mod block;
pub mod clock;
pub mod confinement;
pub mod device_mapper;
pub mod landlock;
pub mod loop_device;
pub mod memory;
pub mod network;
pub mod quota;
pub mod sandbox;
pub mod seccomp;
pub mod service;
pub mod signal;
pub mod twin;
pub mod usage;
pub mod watchdog;
