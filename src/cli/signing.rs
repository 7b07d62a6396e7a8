//! What is signed elsewhere: a command's request out, signatures in; and `osbuild sign`, which answers requests.
//!
//! Invariant: a command that wants signatures changes nothing that is published, writes one request with all that can be
//! signed now, and ends with [`EXIT_WANTED`].

use super::keys;
use super::project::Project;
use super::repo;
use super::report::Failure;
use crate::io::file;
use crate::release::signer::message::{self, Message};
use crate::release::signer::request::{self, Detached, Request, Signatures};
use crate::release::signer::{Exchange, PublicKey, Signer};
use base64::engine::general_purpose::STANDARD;
use base64::Engine;
use std::path::{Path, PathBuf};

/// Signatures of others are wanted: neither success nor failure.
pub const EXIT_WANTED: u8 = 3;

/// What every command that signs understands.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct SigningArgs {
    /// Where private keys are kept elsewhere: write what they have to sign into this file
    #[arg(long, value_name = "FILE")]
    pub sign_request: Option<PathBuf>,
    /// Go on with signatures that `osbuild sign` made; may be given several times
    #[arg(long, value_name = "FILE")]
    pub signatures: Vec<PathBuf>,
}

impl SigningArgs {
    /// Closed, unless one of the options is given.
    pub fn exchange(&self) -> Result<Exchange, Failure> {
        if self.sign_request.is_none() && self.signatures.is_empty() {
            return Ok(Exchange::closed());
        }
        let read = |path: &PathBuf| {
            let bytes = file::read(path, request::LIMIT_BYTES)?;
            Signatures::parse(&bytes).map_err(|error| unreadable("signatures", path, error))
        };
        let received: Vec<Signatures> = self.signatures.iter().map(read).collect::<Result<_, Failure>>()?;
        Ok(Exchange::open(&received, repo::now_seconds())?)
    }

    /// What a command ends with when signatures are wanted, with the request written; `rounds` says what follows.
    pub fn wanted(&self, exchange: &Exchange, rounds: &str) -> Failure {
        let request = exchange.request();
        let names: Vec<String> =
            request.entries.iter().map(|entry| format!("  {}: {}", entry.id, entry.what)).collect();
        let mut message = format!("{} signatures are wanted:\n{}", names.len(), names.join("\n"));
        for path in exchange.useless().iter().filter_map(|number| self.signatures.get(*number)) {
            message += &format!(
                "\nnone of the signatures in `{}` is for what is to be signed now: they answer another request",
                path.display()
            );
        }
        let Some(path) = &self.sign_request else {
            let help = "`--sign-request FILE` writes them into a request for `osbuild sign`";
            return Failure { exit: EXIT_WANTED, ..Failure::new(message).help(help) };
        };
        if let Err(error) = file::write_atomic(path, request.to_json().as_bytes(), 0o644) {
            return error.into();
        }
        let path = path.display();
        let help = format!(
            "`osbuild sign {path} -o SIGNATURES` where the keys are, then this command again with `--signatures \
             SIGNATURES`; {rounds}"
        );
        Failure { exit: EXIT_WANTED, ..Failure::new(message).help(help) }
    }
}

#[derive(Clone, Debug, clap::Args)]
pub struct SignArgs {
    /// What `--sign-request` wrote
    request: PathBuf,
    /// Folder of keys; that of the project unless told
    #[arg(long, value_name = "FOLDER")]
    keys: Option<PathBuf>,
    /// Where the signatures are written
    #[arg(long, short, value_name = "SIGNATURES", required_unless_present = "show")]
    output: Option<PathBuf>,
    /// Sign nothing: only show what is asked for
    #[arg(long, conflicts_with = "output")]
    show: bool,
    /// Sign also what osbuild does not know, or not for that key
    #[arg(long)]
    unknown: bool,
}

/// Signs what the folder has the keys for, and shows what that is, from the messages themselves.
pub fn sign(project: Result<Project, Failure>, args: &SignArgs) -> Result<(), Failure> {
    let bytes = file::read(&args.request, request::LIMIT_BYTES)?;
    let request = Request::parse(&bytes).map_err(|error| unreadable("request", &args.request, error))?;
    let Some(output) = &args.output else {
        return request.entries.iter().try_for_each(|entry| show(&entry.key, entry, &entry.bytes()?));
    };
    let folder = match &args.keys {
        Some(folder) => folder.clone(),
        None => project?.keys(),
    };
    let mut signatures = Vec::new();
    let mut others = 0;
    for entry in &request.entries {
        let Some(signer) = holder(&folder, &entry.key, &entry.key_id)? else {
            eprintln!(
                "not here: key {} ({}), for {}",
                entry.key.escape_debug(),
                entry.key_id.escape_debug(),
                entry.id.escape_debug()
            );
            others += 1;
            continue;
        };
        let message = entry.bytes()?;
        show(signer.name(), entry, &message)?;
        let known = Message::parse(&message).and_then(|known| known.check_key(signer.name(), signer.public()));
        if let (Err(error), false) = (known, args.unknown) {
            return Err(Failure::new(format!(
                "`{}` is nothing that osbuild knows for key `{}`: nothing is signed\n  because: {error}",
                entry.id.escape_debug(),
                signer.name()
            ))
            .help("whoever signs any bytes signs what others like; `--unknown` signs them nevertheless"));
        }
        let signature = STANDARD.encode(signer.sign(&entry.what, &message)?);
        signatures.push(Detached { key_id: entry.key_id.clone(), sha256: entry.sha256.clone(), signature });
    }
    if signatures.is_empty() {
        return Err(Failure::new(format!("none of the keys in `{}` is asked for", folder.display()))
            .help("`--keys FOLDER` names the folder with the private keys"));
    }
    let count = signatures.len();
    let answer = Signatures { format: request::FORMAT, seconds: request.seconds, signatures };
    file::write_atomic(output, answer.to_json().as_bytes(), 0o644)?;
    println!("{}", output.display());
    eprintln!("{count} signatures; {others} that others have to make");
    Ok(())
}

fn show(name: &str, entry: &request::Entry, bytes: &[u8]) -> Result<(), Failure> {
    println!("{}: {}", name.escape_debug(), message::describe(bytes));
    // Whoever asks can say it over the telephone; of a program for Secure Boot it is all that tells it from others.
    println!("  SHA-256 of the message: {}", entry.sha256);
    println!("  asked for as: {}", entry.what.escape_debug());
    Ok(())
}

/// The key, where its private half is here.
fn holder(folder: &Path, name: &str, key_id: &str) -> Result<Option<Signer>, Failure> {
    // A name from a file becomes a path.
    let plain = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte));
    let has = |ending: &str| folder.join(format!("{name}.{ending}")).exists();
    if !plain || !(has("key") || has("signer")) {
        return Ok(None);
    }
    let failed = |error| keys::key_failure(error, folder);
    if PublicKey::load(folder, name).map_err(failed)?.id() != key_id {
        return Ok(None);
    }
    Signer::load(folder, name, &Exchange::closed()).map(Some).map_err(failed)
}

fn unreadable(what: &str, path: &Path, error: request::RequestError) -> Failure {
    let failure = Failure::from(error);
    Failure::new(format!("`{}` is not a file of {what}\n  because: {}", path.display(), failure.message))
}
