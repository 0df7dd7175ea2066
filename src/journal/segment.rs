//! One segment file: its name, its header, and how a new one is made ready.
//!
//! ```text
//! 0 magic "evntyard"   8 version u32   12 id u32   16 salt u64   24 capacity u64   32 crc32c u32
//! frames from offset 4096 to capacity
//! ```
//! The header has a block of its own and is never written again, so a torn write of frames cannot
//! hurt it. (The first sequence is not in it: the segment is made ready before anyone knows that
//! number. It stands in the first frame.)

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{Disk, StoredFile};
use super::frame::{HEAD_BYTES, Salt, u32_at, u64_at};
use crate::limits;

const MAGIC: &[u8; 8] = b"evntyard";
const VERSION: u32 = 1;
const ENCODED_BYTES: usize = 36;

/// Where the first frame of a segment stands.
pub(super) const FIRST_FRAME: u32 = 4096;

/// Kept free at a segment's end for its seal.
pub(super) const SEAL_BYTES: u64 = HEAD_BYTES as u64;

static ZEROS: [u8; 1 << 20] = [0; 1 << 20];

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) id: u32,
    /// The journal's random number, the same in all its segments.
    pub(super) journal_salt: u64,
    /// Bytes of the whole file.
    pub(super) capacity: u64,
}

impl Header {
    pub(super) fn salt(self) -> Salt {
        Salt::new(self.journal_salt, self.id)
    }

    fn encode(self) -> Vec<u8> {
        let mut block = Vec::with_capacity(FIRST_FRAME as usize);
        block.extend_from_slice(MAGIC);
        block.extend_from_slice(&VERSION.to_le_bytes());
        block.extend_from_slice(&self.id.to_le_bytes());
        block.extend_from_slice(&self.journal_salt.to_le_bytes());
        block.extend_from_slice(&self.capacity.to_le_bytes());
        let crc = crc32c::crc32c(&block);
        block.extend_from_slice(&crc.to_le_bytes());
        block.resize(FIRST_FRAME as usize, 0);
        block
    }

    /// Reads the header of the file that is named after `id`; the error says what is wrong.
    pub(super) fn decode(bytes: &[u8], id: u32) -> Result<Header, String> {
        if bytes.len() < FIRST_FRAME as usize {
            return Err("the file ends inside its header".to_owned());
        }
        if bytes[..8] != *MAGIC {
            return Err("the file does not start as a segment does".to_owned());
        }
        if crc32c::crc32c(&bytes[..ENCODED_BYTES - 4]) != u32_at(bytes, 32) {
            return Err("the header's checksum is wrong".to_owned());
        }
        let version = u32_at(bytes, 8);
        if version != VERSION {
            return Err(format!(
                "format version {version}; this program reads version {VERSION}"
            ));
        }
        let header = Header {
            id: u32_at(bytes, 12),
            journal_salt: u64_at(bytes, 16),
            capacity: u64_at(bytes, 24),
        };
        if header.id != id {
            return Err(format!("the header says segment {}", header.id));
        }
        if header.capacity < u64::from(FIRST_FRAME) || header.capacity > u64::from(u32::MAX) {
            return Err(format!("the header says {} bytes", header.capacity));
        }
        Ok(header)
    }
}

/// A segment that is open for writing.
#[derive(Clone)]
pub(super) struct Segment {
    pub(super) header: Header,
    pub(super) file: Arc<dyn StoredFile>,
}

/// The file name of segment `id`.
pub(super) fn file_name(id: u32) -> String {
    format!("{id:010}.seg")
}

/// What a file in the journal's directory is, by its name.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum FileKind {
    Segment(u32),
    /// Trimmed; may be written again.
    Pooled,
    /// Not made ready to its end.
    Unfinished,
    Other,
}

impl FileKind {
    pub(super) fn of(name: &str) -> FileKind {
        if let Some(stem) = name.strip_suffix(".seg") {
            return match stem.parse() {
                Ok(id) if id > 0 && file_name(id) == name => FileKind::Segment(id),
                _ => FileKind::Other,
            };
        }
        if name.ends_with(".pool") {
            return FileKind::Pooled;
        }
        if name.ends_with(".new") {
            return FileKind::Unfinished;
        }
        FileKind::Other
    }
}

/// The name under which segment `id` waits to be written again.
pub(super) fn pooled_name(id: u32) -> String {
    format!("{id:010}.pool")
}

/// Makes a segment ready under its final name: from `pooled` when that file has the right size
/// (its stale frames have another salt), else from a new file full of zeros, so that commits
/// overwrite blocks that the file system has allocated. `between_steps` is called with the bytes
/// done so far. On an error nothing is left under the final name that would not also be valid there.
pub(super) fn make_ready(
    disk: &Disk,
    dir: &Path,
    header: Header,
    pooled: Option<&PathBuf>,
    between_steps: &dyn Fn(u64),
) -> io::Result<Segment> {
    let block = header.encode();
    let mut ready = None;
    if let Some(path) = pooled {
        let file = disk.0.open(path)?;
        if file.bytes()? == header.capacity {
            file.write_all_at(&block, 0)?;
            file.sync_data()?;
            ready = Some((file, path.clone()));
        } else {
            disk.0.remove(path)?;
        }
    }
    let (file, path) = match ready {
        Some(ready) => ready,
        None => {
            let path = dir.join(format!("{:010}.new", header.id));
            match create_zeroed(disk, &path, header.capacity, &block, between_steps) {
                Ok(file) => (file, path),
                Err(error) => {
                    // Gives the room back; the first error is the one to tell.
                    let _ = disk.0.remove(&path);
                    return Err(error);
                }
            }
        }
    };
    disk.0.rename(&path, &dir.join(file_name(header.id)))?;
    disk.0.sync_dir(dir)?;
    Ok(Segment { header, file })
}

fn create_zeroed(
    disk: &Disk,
    path: &Path,
    bytes: u64,
    block: &[u8],
    between_steps: &dyn Fn(u64),
) -> io::Result<Arc<dyn StoredFile>> {
    let file = disk.0.create(path)?;
    let mut done = 0;
    while done < bytes {
        let next = bytes.min(done + limits::JOURNAL_PREPARE_BYTES);
        zero(file.as_ref(), done, next)?;
        done = next;
        if done < bytes {
            // Left to the end, the flush of it all would stand before the writer's.
            file.sync_data()?;
            between_steps(done);
        }
    }
    file.write_all_at(block, 0)?;
    file.sync_data()?;
    Ok(file)
}

/// Writes zeros over `from..to`.
pub(super) fn zero(file: &dyn StoredFile, from: u64, to: u64) -> io::Result<()> {
    let mut offset = from;
    while offset < to {
        let count = (to - offset).min(ZEROS.len() as u64);
        file.write_all_at(&ZEROS[..count as usize], offset)?;
        offset += count;
    }
    Ok(())
}
