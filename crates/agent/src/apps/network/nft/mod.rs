//! Rules of nf_tables in the kernel's own terms, written without libnftnl (`linux/netfilter/nf_tables.h`).
//!
//! Invariant: what one batch says happens as a whole or not at all.

mod batch;
mod expression;

pub use batch::{Batch, Element, Hook, Kind, Set, Value, IPV4, NO_POLICY_DROP, POLICY_DROP};
pub use expression::{interface_key, Expressions, Key, Place, Verdict, ESTABLISHED, INVALID, RELATED};
