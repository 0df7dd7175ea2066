//! Whether a document is one whose keys lead to one place each.

use super::skip;

/// Objects with more keys than this are called not plain, so that comparing keys stays cheap.
const KEYS: usize = 256;

/// Whether no object of a valid JSON text repeats a key, and no key holds a dot or an escape.
///
/// Keys are compared by a hash of 64 bits. Two keys that share one are taken for the same, which
/// costs a reader its shortcut and nothing else.
pub(crate) fn is_plain(valid: &[u8]) -> bool {
    let mut keys: Vec<u64> = Vec::new();
    // Where the keys of each open object begin; of an array, nothing is kept below its mark.
    let mut open: Vec<usize> = Vec::new();
    let mut at = 0;
    while let Some(found) = skip::next_structural(valid, at) {
        at = found + 1;
        match valid[found] {
            b'{' | b'[' => open.push(keys.len()),
            b'}' | b']' => {
                let Some(start) = open.pop() else {
                    return true;
                };
                keys.truncate(start);
            }
            _ => {
                let string = skip::string(valid, at);
                at = string.after;
                if valid.get(skip::space(valid, at)) != Some(&b':') {
                    continue;
                }
                let key = &valid[found + 1..string.end];
                if string.escaped || key.contains(&b'.') {
                    return false;
                }
                let start = open.last().copied().unwrap_or(0);
                let hash = hash(key);
                if keys.len() - start >= KEYS || keys[start..].contains(&hash) {
                    return false;
                }
                keys.push(hash);
            }
        }
    }
    true
}

/// Good enough to tell keys of one object apart: collisions cost time, not truth.
fn hash(key: &[u8]) -> u64 {
    const PRIME: u64 = 0x9E37_79B9_7F4A_7C15;
    let mut hash = key.len() as u64;
    let mut chunks = key.chunks_exact(8);
    for chunk in &mut chunks {
        let word = u64::from_le_bytes(chunk.try_into().expect("chunks of eight"));
        hash = (hash ^ word).wrapping_mul(PRIME).rotate_left(29);
    }
    let mut word = [0; 8];
    let rest = chunks.remainder();
    word[..rest.len()].copy_from_slice(rest);
    (hash ^ u64::from_le_bytes(word)).wrapping_mul(PRIME)
}
