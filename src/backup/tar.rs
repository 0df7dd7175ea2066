//! The headers of a tar archive (ustar), as far as plain files in folders need them.

/// A header, and what the content is padded to.
pub(super) const BLOCK: usize = 512;

const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const SIZE: std::ops::Range<usize> = 124..136;
const TIME: std::ops::Range<usize> = 136..148;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const KIND: usize = 156;
const MAGIC: std::ops::Range<usize> = 257..265;

/// What stands before a file's content.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) bytes: u64,
}

impl Entry {
    /// The header. Names are ours and short, files are smaller than 8 GiB.
    pub(super) fn header(&self, seconds: u64) -> [u8; BLOCK] {
        let mut block = [0; BLOCK];
        block[..self.name.len()].copy_from_slice(self.name.as_bytes());
        put(&mut block[MODE], "0000600");
        for range in [108..116, 116..124] {
            put(&mut block[range], "0000000");
        }
        put(&mut block[SIZE], &format!("{:011o}", self.bytes));
        put(&mut block[TIME], &format!("{seconds:011o}"));
        block[KIND] = b'0';
        block[MAGIC].copy_from_slice(b"ustar\x0000");
        let sum = checksum(&block);
        put(&mut block[CHECKSUM], &format!("{sum:06o}\0 "));
        block
    }

    /// Reads a header; `None` for the empty blocks at the end.
    pub(super) fn read(block: &[u8; BLOCK]) -> Result<Option<Entry>, String> {
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let wrong = || "it is no backup, or was damaged: a header does not read".to_owned();
        let octal = |range: std::ops::Range<usize>| {
            let text = std::str::from_utf8(&block[range]).ok()?;
            let digits = text.trim_matches(|c| c == ' ' || c == '\0');
            u64::from_str_radix(digits, 8).ok()
        };
        let is_plain = block[KIND] == b'0' && block[MAGIC] == *b"ustar\x0000";
        if !is_plain || octal(CHECKSUM) != Some(checksum(block)) {
            return Err(wrong());
        }
        let name = block[NAME]
            .split(|byte| *byte == 0)
            .next()
            .unwrap_or_default();
        let name = std::str::from_utf8(name).map_err(|_| wrong())?;
        Ok(Some(Entry {
            name: name.to_owned(),
            bytes: octal(SIZE).ok_or_else(wrong)?,
        }))
    }

    /// Bytes behind the content up to the next header.
    pub(super) fn padding(&self) -> usize {
        let over = (self.bytes % BLOCK as u64) as usize;
        (BLOCK - over) % BLOCK
    }
}

fn put(field: &mut [u8], text: &str) {
    field[..text.len()].copy_from_slice(text.as_bytes());
}

/// The sum of all bytes, its own field counted as blanks.
fn checksum(block: &[u8; BLOCK]) -> u64 {
    let byte = |(at, byte): (usize, &u8)| match CHECKSUM.contains(&at) {
        true => u64::from(b' '),
        false => u64::from(*byte),
    };
    block.iter().enumerate().map(byte).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_reads_back_and_not_when_a_byte_was_changed() {
        let entry = Entry {
            name: "journal/0000000001.seg".to_owned(),
            bytes: 67_108_864,
        };
        let block = entry.header(1_800_000_000);
        assert_eq!(Entry::read(&block).unwrap(), Some(entry.clone()));
        assert_eq!(Entry::read(&[0; BLOCK]).unwrap(), None);
        for at in [0, 130, 150, 156, 258] {
            let mut changed = block;
            changed[at] ^= 1;
            assert!(Entry::read(&changed).is_err(), "{at}");
        }
        assert_eq!(entry.padding(), 0);
        assert_eq!(Entry { bytes: 1, ..entry }.padding(), BLOCK - 1);
    }
}
