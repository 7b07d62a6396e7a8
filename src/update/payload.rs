//! Two releases, or one, and a key in; a payload that brings devices from the first to the second out.
//!
//! Invariant: equal releases and an equal key give equal bytes, and the header that is signed is the one that describes them.

use super::delta::{self, DeltaError};
use super::release::ReleaseImages;
use super::UpdateError;
use crate::release::signer::Signer;
use osbuild_format::payload::{self, Header, FORMAT, PAYLOAD_TYPE};

/// A payload without its signature.
pub struct Unsigned {
    header: Header,
    stored: Vec<u8>,
}

impl Unsigned {
    /// From `from` to `to`; without the first, from nothing.
    pub fn make(from: Option<&ReleaseImages>, to: &ReleaseImages) -> Result<Unsigned, DeltaError> {
        let generated = delta::generate(from.map(ReleaseImages::images).as_ref(), &to.images())?;
        let (segments, stored): (Vec<_>, Vec<Vec<u8>>) = generated.segments.into_iter().unzip();
        let header = Header {
            format: FORMAT,
            product: to.product.clone(),
            machine: to.machine.clone(),
            from: from.map(|from| from.release.clone()),
            to: to.release.clone(),
            segments,
        };
        Ok(Unsigned { header, stored: stored.concat() })
    }

    /// Without what the envelope adds.
    pub fn stored_bytes(&self) -> u64 {
        self.stored.len() as u64
    }

    /// The payload's file. The only thing that is signed is its header, which names everything else.
    pub fn sign(&self, release: &Signer) -> Result<Vec<u8>, UpdateError> {
        let json = self.header.to_json()?;
        let envelope = release.sign_statement(&self.what(), PAYLOAD_TYPE, &json)?;
        let mut bytes = payload::head(envelope.as_bytes())?;
        bytes.extend_from_slice(&self.stored);
        Ok(bytes)
    }

    /// For people who are asked to sign.
    fn what(&self) -> String {
        let Header { product, machine, from, to, .. } = &self.header;
        let from = from.as_ref().map_or("nothing".to_owned(), |from| from.version.clone());
        format!("payload of {product} from {from} to {} for {machine}", to.version)
    }
}
