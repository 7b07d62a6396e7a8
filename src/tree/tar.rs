//! A root in, a tar archive for `mkfs.erofs --tar=f` out.
//!
//! Source: POSIX pax interchange format, with `SCHILY.xattr.` records. Invariants: entries in the order of
//! their paths, every time the same second, no names of users or groups, so equal roots give equal bytes.

use super::problem::TreeError;
use super::root::{Content, Item, Owner, Root};
use crate::io::file;
use crate::io::store::{Store, StoreError};
use crate::model::digest::Digester;
use crate::model::Digest;
use std::io::{self, BufWriter, Read, Write};
use tar::{Builder, EntryType, Header};

/// The modification time of everything, in seconds since the epoch.
const MTIME_SECONDS: u64 = 1;
/// What the path and link fields of a header hold; longer ones go into a pax record.
const LIMIT_FIELD_BYTES: usize = 100;

/// Puts the archive of `root` into the store.
pub fn keep(root: &Root, store: &Store) -> Result<Digest, TreeError> {
    let scratch = store.temporary_folder()?;
    let path = scratch.path().join("root.tar");
    let mut output = BufWriter::with_capacity(1 << 20, file::create(&path).map_err(StoreError::from)?);
    write(root, store, &mut output)?;
    drop(output);
    Ok(store.put_file(&path)?)
}

/// Writes the archive of `root`.
fn write(root: &Root, store: &Store, output: &mut dyn Write) -> Result<(), TreeError> {
    let mut builder = Builder::new(output);
    // Without an entry of its own the root would be open to all, and to whoever ran mkfs.
    append(&mut builder, ".", &Item::new(Content::Folder, Owner::Generated), store)?;
    for (path, item) in &root.items {
        append(&mut builder, path.as_str(), item, store)?;
    }
    builder.into_inner().map_err(TreeError::Archive)?.flush().map_err(TreeError::Archive)
}

fn append(builder: &mut Builder<&mut dyn Write>, path: &str, item: &Item, store: &Store) -> Result<(), TreeError> {
    let is_folder = matches!(item.content, Content::Folder);
    let name = if is_folder { format!("{path}/") } else { path.to_owned() };
    let mut header = Header::new_ustar();
    header.set_mode(item.mode);
    header.set_uid(item.uid.into());
    header.set_gid(item.gid.into());
    header.set_mtime(MTIME_SECONDS);
    header.set_size(0);
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    put_name(&mut header, &name, &mut records);
    for (key, value) in &item.xattrs {
        records.push((format!("SCHILY.xattr.{key}"), value.clone()));
    }
    match &item.content {
        Content::Folder => header.set_entry_type(EntryType::Directory),
        Content::File { digest, .. } => {
            header.set_entry_type(EntryType::Regular);
            header.set_size(digest.size_bytes);
        }
        Content::Symlink { target } => {
            header.set_entry_type(EntryType::Symlink);
            put_link(&mut header, target, &mut records);
        }
        Content::Device(device) => {
            header.set_entry_type(if device.block { EntryType::Block } else { EntryType::Char });
            header.set_device_major(device.major).map_err(TreeError::Archive)?;
            header.set_device_minor(device.minor).map_err(TreeError::Archive)?;
        }
    }
    header.set_cksum();
    let records = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
    builder.append_pax_extensions(records).map_err(TreeError::Archive)?;
    match &item.content {
        Content::File { digest, .. } => append_file(builder, &header, digest, store),
        _ => builder.append(&header, io::empty()).map_err(TreeError::Archive),
    }
}

/// Checks the content as it passes: a damaged blob must not reach an image.
fn append_file(
    builder: &mut Builder<&mut dyn Write>,
    header: &Header,
    digest: &Digest,
    store: &Store,
) -> Result<(), TreeError> {
    let mut reader = Checked { reader: store.open_blob(digest)?, digester: Digester::default() };
    builder.append(header, &mut reader).map_err(TreeError::Archive)?;
    if reader.digester.finish() != *digest {
        store.remove(digest);
        return Err(StoreError::Damaged(*digest).into());
    }
    Ok(())
}

struct Checked<R> {
    reader: R,
    digester: Digester,
}

impl<R: Read> Read for Checked<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.reader.read(buffer)?;
        self.digester.update(&buffer[..count]);
        Ok(count)
    }
}

fn put_name(header: &mut Header, name: &str, records: &mut Vec<(String, Vec<u8>)>) {
    let field = &mut header.as_mut_bytes()[..LIMIT_FIELD_BYTES];
    put_field(field, name, "path", records);
}

fn put_link(header: &mut Header, target: &str, records: &mut Vec<(String, Vec<u8>)>) {
    // POSIX ustar: `linkname` is the 100 bytes at offset 157.
    let field = &mut header.as_mut_bytes()[157..157 + LIMIT_FIELD_BYTES];
    put_field(field, target, "linkpath", records);
}

/// A text that does not fit is cut in the header; the pax record before it has all of it.
fn put_field(field: &mut [u8], text: &str, key: &str, records: &mut Vec<(String, Vec<u8>)>) {
    let fits = text.len().min(LIMIT_FIELD_BYTES);
    field[..fits].copy_from_slice(&text.as_bytes()[..fits]);
    if text.len() > LIMIT_FIELD_BYTES {
        records.push((key.to_owned(), text.as_bytes().to_vec()));
    }
}
