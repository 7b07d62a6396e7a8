//! `osbuild run` and `osbuild test`: builds the image and its board, then hands over to them.
//!
//! Invariant: for a test of a product that people can log in to, the key is made for that test alone, and no image with
//! it lies where somebody may take it for the product's.

use super::interrupt;
use super::project::Project;
use super::report::Failure;
use super::run::{self, BoardInputs, Door, RunArgs, KEY_VARIABLE};
use super::session::{BuildArgs, Session};
use super::suites;
use super::test::{self, TestArgs};
use super::{image, keys};
use crate::disk::DISK_IMAGE;
use crate::io::file;
use crate::io::store::Node;
use crate::plan::goals;
use crate::release::signer::Exchange;
use crate::release::{self, image::Release};
use crate::tools::board::check::{sshkey, SshAccess};
use crate::tools::board::varstore::{Guid, SecureBootKeys};
use crate::tools::board::{BoardError, Stop, ToolRoot};
use ed25519_dalek::SigningKey;
use std::collections::BTreeMap;
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// Where images with a test's key lie, below the test's folder; only the last one is kept.
pub const IMAGES: &str = "images";
const TEST_COMMENT: &str = "osbuild-test";

pub fn run(project: Project, args: &RunArgs) -> Result<(), Failure> {
    let session = Session::open(project, args.product.as_deref(), &BTreeMap::new(), &BuildArgs::default())?;
    let state = state(&session, "run")?;
    let release = image::build(&session, &image::folder(&session)?)?;
    run::run(args, &inputs(&session, &release, state)?)
}

pub fn test(project: Project, args: &TestArgs) -> Result<(), Failure> {
    let key = SigningKey::generate(&mut rand_core::OsRng);
    let config = crate::config::load(&project.root, args.product.as_deref())?;
    let takes_key = config.product.variables.contains_key(KEY_VARIABLE);
    let line = (KEY_VARIABLE.to_owned(), sshkey::public_line(&key, TEST_COMMENT));
    let variables = takes_key.then_some(line).into_iter().collect();
    let session = Session::open(project, args.product.as_deref(), &variables, &BuildArgs::default())?;
    let suites = suites::read(&session.project.root)?;
    let state = state(&session, "test")?;
    let _alone = alone(&state, &session)?;
    let folder = if takes_key { state.join(IMAGES) } else { image::folder(&session)? };
    let release = image::build(&session, &folder)?;
    let access = takes_key.then(|| SshAccess { key: state.join("developer-key") });
    if let Some(access) = &access {
        release::image::keep_only(&release)?;
        file::write_atomic(&access.key, sshkey::private_file(&key, TEST_COMMENT).as_bytes(), 0o600)?;
    }
    let inputs = inputs(&session, &release, state)?;
    session.guard(|| test::test(args, &inputs, &suites, access.as_ref()))
}

/// A board that was stopped on request did not fail.
pub fn failure(error: BoardError) -> Failure {
    let exit = if matches!(error, BoardError::Interrupted) { interrupt::EXIT } else { 1 };
    Failure { exit, ..Failure::from(error) }
}

/// The folder that a product's boards keep for `purpose`.
pub fn state(session: &Session, purpose: &str) -> Result<PathBuf, Failure> {
    let state = session.project.out(purpose)?.join(session.config.product.name.as_str());
    file::create_dir_all(&state)?;
    Ok(state)
}

/// Held while a product is tested: another test would replace its image and its key.
fn alone(state: &Path, session: &Session) -> Result<File, Failure> {
    let path = state.join("testing");
    let lock = file::create(&path)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            let product = &session.config.product.name;
            Err(Failure::new(format!("another test of `{product}` is running")).help("wait for its end"))
        }
        Err(TryLockError::Error(error)) => Err(file::at("lock", &path)(error).into()),
    }
}

/// The programs of the board, and the ssh client.
pub fn tool_root(session: &Session) -> Result<ToolRoot, Failure> {
    let tools = session.goal(goals::BOARD)?.clone();
    let outcome = session.run(std::slice::from_ref(&tools))?;
    let Node::Folder(tree) = outcome.output(&session.store, &session.plan, &tools)? else {
        return Err(Failure::new("the board's tool tree is not a folder"));
    };
    Ok(ToolRoot::new(session.store.checkout(&tree)?).until(Stop::at(session.wish_to_stop())))
}

pub fn inputs(session: &Session, release: &Release, state: PathBuf) -> Result<BoardInputs, Failure> {
    let public = keys::load(&session.project, &Exchange::closed())?.public;
    let mut owner = [0; 16];
    owner.copy_from_slice(&public.fingerprint()[..16]);
    let product = session.config.product.name.to_string();
    Ok(BoardInputs {
        tools: tool_root(session)?,
        image: release.folder.join(DISK_IMAGE),
        keys: SecureBootKeys {
            owner: Guid(owner),
            platform_key: public.platform_key,
            key_exchange_key: public.key_exchange_key,
            signature_db: public.signature_db,
        },
        board: session.config.machine.board.clone(),
        door: Door::of(&session.config.product),
        state,
        product,
    })
}
