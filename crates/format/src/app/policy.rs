//! Capabilities to the system calls that they allow.
//!
//! Invariant: a list of what is allowed; everything else ends the app.
