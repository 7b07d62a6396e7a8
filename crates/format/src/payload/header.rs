//! What a payload says of itself, to and from JSON.
//!
//! Invariant: of a header that came out of [`Header::from_json`], the segments cover each image once, in order and without
//! gaps, and every number is within its limit.

use super::{LIMIT_ENVELOPE_BYTES, LIMIT_OUTPUT_BYTES, LIMIT_STORED_BYTES};
use crate::device::update::LIMIT_EPOCH;
use crate::verity::BLOCK_BYTES;
use serde::{Deserialize, Serialize};

/// Of the DSSE envelope.
pub const PAYLOAD_TYPE: &str = "application/vnd.osbuild.payload+json";
/// The only version so far.
pub const FORMAT: u32 = 1;
/// 64 GiB: more is damage, not an image.
const LIMIT_IMAGE_BYTES: u64 = 64 << 30;
const LIMIT_SEGMENTS: usize = 1 << 15;
const LIMIT_TEXT: usize = 128;

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Header {
    /// [`FORMAT`].
    pub format: u32,
    pub product: String,
    pub machine: String,
    /// What the source ranges are read from; none: a full payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Release>,
    pub to: Release,
    /// In the order in which they are written and lie in the payload: those of the root, then those of the ESP.
    pub segments: Vec<Segment>,
}

/// The two images of a slot that travel, and what the third follows from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// `MAJOR.MINOR.PATCH`.
    pub version: String,
    /// Security epoch: a device that has committed one takes no lower one.
    pub epoch: u32,
    /// The whole partition. Its digest names the release: it holds the UKI, whose command line holds the root hash.
    pub esp: Image,
    /// Without what follows it in its partition.
    pub root: Image,
    /// Of the verity tree over the root, 64 hex digits.
    pub root_hash: String,
    /// Of the tree, hex digits; its UUID is [`crate::verity::uuid`] of it.
    pub salt: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Image {
    pub size_bytes: u64,
    /// SHA-256, 64 hex digits.
    pub sha256: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ImageName {
    Esp,
    Root,
}

/// Independent of every other: it can be verified, applied and written on its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    pub image: ImageName,
    /// What it writes; where follows from the segments before it. At most [`LIMIT_OUTPUT_BYTES`].
    pub output_bytes: u32,
    /// Of what it writes: SHA-256, 64 hex digits.
    pub output_sha256: String,
    /// What it takes on its way. At most [`LIMIT_STORED_BYTES`].
    pub stored_bytes: u32,
    /// Of that.
    pub stored_sha256: String,
}

#[derive(Debug, thiserror::Error)]
pub enum HeaderError {
    #[error("the header has {0} bytes; the limit is {LIMIT_ENVELOPE_BYTES}")]
    TooLong(usize),
    #[error("the header is not valid JSON of the expected shape")]
    Shape(#[from] serde_json::Error),
    #[error("this reader knows format {FORMAT} of the header, it has: {0}")]
    Format(u32),
    #[error("the header's `{field}` is not valid: {value}")]
    Value { field: &'static str, value: String },
    #[error("the segments write {found} bytes of the {image}, which has: {wanted}")]
    Gap { image: &'static str, wanted: u64, found: u64 },
    #[error("the segments are not those of the root and then those of the ESP")]
    Order,
}

impl Header {
    /// Parses and validates.
    pub fn from_json(bytes: &[u8]) -> Result<Self, HeaderError> {
        if bytes.len() > LIMIT_ENVELOPE_BYTES {
            return Err(HeaderError::TooLong(bytes.len()));
        }
        let header: Self = serde_json::from_slice(bytes)?;
        header.validate()?;
        Ok(header)
    }

    /// Validates and serialises: the same value gives the same bytes.
    pub fn to_json(&self) -> Result<Vec<u8>, HeaderError> {
        self.validate()?;
        Ok(serde_json::to_vec(self)?)
    }

    /// Where each segment lies: offset in the stored bytes after the head, offset in its image.
    pub fn places(&self) -> impl Iterator<Item = (u64, u64, &Segment)> {
        let (mut stored, mut esp, mut root) = (0, 0, 0);
        self.segments.iter().map(move |segment| {
            let written = match segment.image {
                ImageName::Esp => &mut esp,
                ImageName::Root => &mut root,
            };
            let place = (stored, *written, segment);
            stored += u64::from(segment.stored_bytes);
            *written += u64::from(segment.output_bytes);
            place
        })
    }

    /// Bytes of all segments as they travel.
    pub fn stored_bytes(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.stored_bytes)).sum()
    }

    fn validate(&self) -> Result<(), HeaderError> {
        if self.format != FORMAT {
            return Err(HeaderError::Format(self.format));
        }
        text("product", &self.product)?;
        text("machine", &self.machine)?;
        self.from.iter().chain([&self.to]).try_for_each(Release::validate)?;
        if self.segments.len() > LIMIT_SEGMENTS {
            return value("segments", self.segments.len());
        }
        self.segments.iter().try_for_each(Segment::validate)?;
        if !self.segments.is_sorted_by_key(|segment| segment.image == ImageName::Esp) {
            return Err(HeaderError::Order);
        }
        self.covers(ImageName::Root, "root", &self.to.root)?;
        self.covers(ImageName::Esp, "ESP", &self.to.esp)
    }

    fn covers(&self, name: ImageName, image: &'static str, wanted: &Image) -> Result<(), HeaderError> {
        let of_image = self.segments.iter().filter(|segment| segment.image == name);
        let found = of_image.map(|segment| u64::from(segment.output_bytes)).sum();
        match found == wanted.size_bytes {
            true => Ok(()),
            false => Err(HeaderError::Gap { image, wanted: wanted.size_bytes, found }),
        }
    }
}

impl Release {
    pub fn image(&self, name: ImageName) -> &Image {
        match name {
            ImageName::Esp => &self.esp,
            ImageName::Root => &self.root,
        }
    }

    fn validate(&self) -> Result<(), HeaderError> {
        text("version", &self.version)?;
        // A device that runs the release could not commit it, and would never update again.
        if self.epoch > LIMIT_EPOCH {
            return value("epoch", self.epoch);
        }
        digest("root_hash", &self.root_hash)?;
        let salt = crate::hex::decode(&self.salt).filter(|salt| salt.len() <= 256);
        if salt.is_none() {
            return value("salt", self.salt.chars().take(LIMIT_TEXT).collect::<String>().escape_debug());
        }
        for image in [&self.esp, &self.root] {
            digest("sha256", &image.sha256)?;
            let whole = image.size_bytes % u64::from(BLOCK_BYTES) == 0;
            if !whole || !(1..=LIMIT_IMAGE_BYTES).contains(&image.size_bytes) {
                return value("size_bytes", image.size_bytes);
            }
        }
        Ok(())
    }
}

impl Segment {
    fn validate(&self) -> Result<(), HeaderError> {
        digest("output_sha256", &self.output_sha256)?;
        digest("stored_sha256", &self.stored_sha256)?;
        if !(1..=LIMIT_OUTPUT_BYTES).contains(&self.output_bytes) {
            return value("output_bytes", self.output_bytes);
        }
        match (1..=LIMIT_STORED_BYTES).contains(&self.stored_bytes) {
            true => Ok(()),
            false => value("stored_bytes", self.stored_bytes),
        }
    }
}

/// A name of which files, too, are named.
pub(crate) fn is_text(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'/');
    plain && (1..=LIMIT_TEXT).contains(&text.len())
}

fn text(field: &'static str, text: &str) -> Result<(), HeaderError> {
    match is_text(text) {
        true => Ok(()),
        false => value(field, text.chars().take(LIMIT_TEXT).collect::<String>().escape_debug()),
    }
}

fn digest(field: &'static str, text: &str) -> Result<(), HeaderError> {
    match crate::hex::decode(text).is_some_and(|bytes| bytes.len() == 32) {
        true => Ok(()),
        false => value(field, text.chars().take(LIMIT_TEXT).collect::<String>().escape_debug()),
    }
}

fn value<T>(field: &'static str, value: impl std::fmt::Display) -> Result<T, HeaderError> {
    Err(HeaderError::Value { field, value: value.to_string() })
}
