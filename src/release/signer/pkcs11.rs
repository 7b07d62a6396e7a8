//! A message in, the signature that a token makes of it out (PKCS #11 3.0: CKM_EDDSA, CKM_SHA256_RSA_PKCS).
//!
//! Invariant: a PIN is never in the file that names the token, nor in any message; one process initialises a module once.

use super::PublicKey;
use crate::io::file::{self, at, FileError};
use cryptoki::context::{CInitializeArgs, CInitializeFlags};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::Mechanism;
use cryptoki::object::{Attribute, ObjectClass};
use cryptoki::session::{Session, UserType};
use cryptoki::slot::TokenInfo;
use cryptoki::types::AuthPin;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Pkcs11 {
    /// The token's library.
    module: PathBuf,
    /// Label of the token.
    token: String,
    /// Label of the private key on it.
    key: String,
    /// Environment variable with the PIN.
    pin_env: Option<String>,
    /// File with the PIN.
    pin_file: Option<PathBuf>,
}

#[derive(Debug, thiserror::Error)]
pub enum TokenError {
    #[error("the token's library `{}` does not do what it was asked", path.display())]
    Module {
        path: PathBuf,
        #[source]
        source: cryptoki::error::Error,
    },
    #[error("there is no token with the label `{0}`")]
    NoToken(String),
    #[error("token `{token}` has {found} private keys with the label `{key}`, it must be one")]
    Key { token: String, key: String, found: usize },
    #[error(
        "token `{0}` wants a PIN and has no keypad of its own: `pin_env` names a variable with it, `pin_file` a file"
    )]
    NoPinOption(String),
    #[error("the environment variable `{0}`, which is to hold the PIN, is not set")]
    NoPin(String),
    #[error("`{}` with the PIN can be read by others (mode {mode:o}); run `chmod 600` on it, and choose another PIN", path.display())]
    OpenPin { path: PathBuf, mode: u32 },
    #[error(transparent)]
    File(#[from] FileError),
}

/// Those that this process has initialised.
static MODULES: Mutex<BTreeMap<PathBuf, cryptoki::context::Pkcs11>> = Mutex::new(BTreeMap::new());

impl Pkcs11 {
    pub(super) fn sign(&self, public: &PublicKey, message: &[u8]) -> Result<Vec<u8>, TokenError> {
        let failed = |source| TokenError::Module { path: self.module.clone(), source };
        // A session's login is that of all sessions of the process: one at a time.
        let mut modules = MODULES.lock().unwrap_or_else(PoisonError::into_inner);
        let module = initialised(&mut modules, &self.module).map_err(failed)?;
        let (session, token) = self.session(&module)?;
        let pin = self.pin()?;
        if wants_login(pin.is_some(), token.protected_authentication_path(), token.login_required())
            .ok_or_else(|| TokenError::NoPinOption(self.token.clone()))?
        {
            // Without a PIN the token asks for it, at its keypad.
            session.login(UserType::User, pin.as_ref()).map_err(failed)?;
        }
        let wanted = [Attribute::Class(ObjectClass::PRIVATE_KEY), Attribute::Label(self.key.clone().into_bytes())];
        let found = session.find_objects(&wanted).map_err(failed)?;
        let [key] = found[..] else {
            return Err(TokenError::Key { token: self.token.clone(), key: self.key.clone(), found: found.len() });
        };
        let mechanism = match public {
            PublicKey::Ed25519(_) => Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Pure)),
            PublicKey::Rsa(_) => Mechanism::Sha256RsaPkcs,
        };
        session.sign(&mechanism, key, message).map_err(failed)
    }

    fn session(&self, module: &cryptoki::context::Pkcs11) -> Result<(Session, TokenInfo), TokenError> {
        let failed = |source| TokenError::Module { path: self.module.clone(), source };
        for slot in module.get_slots_with_token().map_err(failed)? {
            let token = module.get_token_info(slot).map_err(failed)?;
            if token.label().trim_end() == self.token {
                return Ok((module.open_ro_session(slot).map_err(failed)?, token));
            }
        }
        Err(TokenError::NoToken(self.token.clone()))
    }

    fn pin(&self) -> Result<Option<AuthPin>, TokenError> {
        let text = match (&self.pin_env, &self.pin_file) {
            (Some(name), _) => std::env::var(name).map_err(|_| TokenError::NoPin(name.clone()))?,
            (None, Some(path)) => pin_of(path)?,
            (None, None) => return Ok(None),
        };
        Ok(Some(AuthPin::new(text.into())))
    }
}

/// Whether to log in; none where it takes a PIN that nobody has given. PKCS #11 3.0, section 5.6.8: without a PIN only where the
/// token has CKF_PROTECTED_AUTHENTICATION_PATH.
fn wants_login(has_pin: bool, has_keypad: bool, is_required: bool) -> Option<bool> {
    match (has_pin || has_keypad, is_required) {
        (true, required) => Some(required || has_pin),
        (false, false) => Some(false),
        (false, true) => None,
    }
}

fn pin_of(path: &Path) -> Result<String, TokenError> {
    let mode = std::fs::metadata(path).map_err(at("look at", path))?.permissions().mode() & 0o777;
    match mode & 0o077 {
        0 => Ok(file::read_text(path)?.trim_end_matches('\n').to_owned()),
        _ => Err(TokenError::OpenPin { path: path.to_owned(), mode }),
    }
}

fn initialised(
    modules: &mut BTreeMap<PathBuf, cryptoki::context::Pkcs11>,
    path: &Path,
) -> Result<cryptoki::context::Pkcs11, cryptoki::error::Error> {
    if let Some(module) = modules.get(path) {
        return Ok(module.clone());
    }
    let module = cryptoki::context::Pkcs11::new(path)?;
    module.initialize(CInitializeArgs::new(CInitializeFlags::OS_LOCKING_OK))?;
    modules.insert(path.to_owned(), module.clone());
    Ok(module)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_a_pin_only_a_token_with_a_keypad_is_logged_into() {
        for (has_pin, has_keypad, is_required, wanted) in [
            (true, false, true, Some(true)),
            (true, true, true, Some(true)),
            (false, true, true, Some(true)),
            (false, true, false, Some(false)),
            (false, false, false, Some(false)),
            (false, false, true, None),
        ] {
            assert_eq!(wants_login(has_pin, has_keypad, is_required), wanted, "{has_pin} {has_keypad} {is_required}");
        }
    }

    #[test]
    fn a_pin_that_others_can_read_is_not_used() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("pin");
        file::write_atomic(&path, b"1234\n", 0o600).expect("written");
        assert_eq!(pin_of(&path).expect("read"), "1234");
        file::write_atomic(&path, b"1234\n", 0o640).expect("written");
        assert!(matches!(pin_of(&path), Err(TokenError::OpenPin { mode: 0o640, .. })));
    }
}
