//! Every attack that the specification lists in section 1.5.2, one module each, under its name.

mod simulator;

#[path = "attacks/arbitrary_installation.rs"]
mod arbitrary_installation;
#[path = "attacks/endless_data.rs"]
mod endless_data;
#[path = "attacks/extraneous_dependencies.rs"]
mod extraneous_dependencies;
#[path = "attacks/fast_forward.rs"]
mod fast_forward;
#[path = "attacks/indefinite_freeze.rs"]
mod indefinite_freeze;
#[path = "attacks/key_compromise.rs"]
mod key_compromise;
#[path = "attacks/malicious_mirrors.rs"]
mod malicious_mirrors;
#[path = "attacks/mix_and_match.rs"]
mod mix_and_match;
#[path = "attacks/rollback.rs"]
mod rollback;
#[path = "attacks/slow_retrieval.rs"]
mod slow_retrieval;
#[path = "attacks/wrong_installation.rs"]
mod wrong_installation;
