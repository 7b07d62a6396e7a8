//! A folder of keys and a message in; a signature that the key's public half vouches for out, or an entry in a request.
//!
//! Invariant: no signature leaves here unverified, whoever made it: a file's key, a token, a program, or people somewhere
//! else who were asked with a [`request`].

mod exchange;
mod external;
pub mod message;
mod pkcs11;
mod private;
mod public;
pub mod request;
pub mod role;

#[cfg(test)]
mod tests;

pub use exchange::Exchange;
pub use external::ExternalError;
pub use pkcs11::TokenError;
pub use public::PublicKey;

use super::keys::KeyError;
use ed25519_dalek::SigningKey;
use osbuild_format::dsse;
use private::Private;
use request::Entry;
use rsa::RsaPrivateKey;
use std::path::Path;

/// A key that signs, wherever its private half is.
pub struct Signer {
    name: String,
    public: PublicKey,
    private: Private,
    exchange: Exchange,
}

#[derive(Debug, thiserror::Error)]
pub enum SignError {
    /// It has been added to the request.
    #[error("the signature of key `{0}` is not here")]
    Wanted(String),
    #[error("the signature that was made with key `{0}` is not valid for its public half")]
    Invalid(String),
    #[error(
        "the signature that was received for `{what}` is not valid for key `{name}`: it was changed on the way, or made of \
         something else; ask again with `--sign-request FILE`, without it"
    )]
    Received { name: String, what: String },
    #[error("the signature cannot be made")]
    Rsa(#[source] rsa::Error),
    #[error("the token does not sign with key `{name}`")]
    Token {
        name: String,
        #[source]
        source: TokenError,
    },
    #[error("the program that is to sign with key `{name}` does not")]
    External {
        name: String,
        #[source]
        source: ExternalError,
    },
}

impl SignError {
    /// Whether others have to sign first.
    pub fn is_wanted(&self) -> bool {
        matches!(self, SignError::Wanted(_))
    }
}

impl Signer {
    /// The key `name` of `folder`: its public half must be there. Where `exchange` is closed, the private one, too.
    pub fn load(folder: &Path, name: &str, exchange: &Exchange) -> Result<Signer, KeyError> {
        let public = PublicKey::load(folder, name)?;
        let private = Private::load(folder, name, &public)?;
        if matches!(private, Private::Absent) && !exchange.is_open() {
            return Err(KeyError::Elsewhere { path: folder.join(format!("{name}.key")), name: name.to_owned() });
        }
        Ok(Signer { name: name.to_owned(), public, private, exchange: exchange.clone() })
    }

    pub fn of_ed25519(name: &str, key: SigningKey) -> Signer {
        let public = PublicKey::Ed25519(key.verifying_key());
        Signer { name: name.to_owned(), public, private: Private::Ed25519(Box::new(key)), exchange: Exchange::closed() }
    }

    pub fn of_rsa(name: &str, key: RsaPrivateKey) -> Signer {
        let public = PublicKey::Rsa(Box::new(key.to_public_key()));
        Signer { name: name.to_owned(), public, private: Private::Rsa(Box::new(key)), exchange: Exchange::closed() }
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    pub fn public(&self) -> &PublicKey {
        &self.public
    }

    /// Whether it can sign without being asked with a request.
    pub fn is_here(&self) -> bool {
        !matches!(self.private, Private::Absent)
    }

    /// Signs `message`; `what` says to people what that is.
    pub fn sign(&self, what: &str, message: &[u8]) -> Result<Vec<u8>, SignError> {
        let entry = Entry::new(&self.name, self.public.id(), self.public.algorithm(), what, message);
        let signature = match self.exchange.received(&entry) {
            Some(signature) if self.public.verifies(message, &signature) => return Ok(signature),
            Some(_) => return Err(SignError::Received { name: self.name.clone(), what: what.to_owned() }),
            None => match self.private.sign(&self.name, &self.public, message)? {
                Some(signature) => signature,
                None => {
                    self.exchange.want(entry);
                    return Err(SignError::Wanted(self.name.clone()));
                }
            },
        };
        match self.public.verifies(message, &signature) {
            true => Ok(signature),
            false => Err(SignError::Invalid(self.name.clone())),
        }
    }

    /// The envelope of a statement that it vouches for.
    pub fn sign_statement(&self, what: &str, payload_type: &str, payload: &[u8]) -> Result<String, SignError> {
        let signature = self.sign(what, &dsse::pre_authentication(payload_type, payload))?;
        Ok(dsse::signed(payload_type, payload, &signature, &self.public.id()))
    }
}
