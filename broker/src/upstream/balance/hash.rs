//! Hashing that is the same on every machine and in every release, and the choice by it: weighted
//! rendezvous hashing (highest random weight).
//!
//! Each candidate draws a score for the key, and the highest wins. A score depends on the candidate and
//! the key alone. So when a candidate leaves, only its own keys move, and when one joins or gains
//! weight, only the keys move that it gets.

use twox_hash::XxHash64;

use super::Candidate;

/// The hash of a backend's name or of a key: XXH64 with seed zero.
pub(crate) fn of(bytes: &[u8]) -> u64 {
    XxHash64::oneshot(0, bytes)
}

/// Whom `key` prefers. The order of the candidates makes no difference.
pub(super) fn first<'a>(
    candidates: impl IntoIterator<Item = &'a Candidate>,
    key: u64,
) -> Option<&'a Candidate> {
    let scored = candidates.into_iter().map(|candidate| (score(candidate, key), candidate));
    let best = scored.max_by(|(one_score, one), (other_score, other)| {
        // Equal scores need an order too; ids are the last resort, for names that hash alike.
        let by_name = || one.hash.cmp(&other.hash).then(other.id.cmp(&one.id));
        one_score.total_cmp(other_score).then_with(by_name)
    });
    best.map(|(_, candidate)| candidate)
}

/// -w / ln(u), with u evenly distributed between 0 and 1: the one that makes each candidate win in
/// proportion to its weight. The logarithm may differ between machines in its last bit, which decides
/// nothing but keys whose two best scores agree in 15 digits.
fn score(candidate: &Candidate, key: u64) -> f64 {
    -f64::from(candidate.share()) / unit(mix(candidate.hash, key)).ln()
}

/// Both whole, one after the other: hashed apart and combined, like keys would get like candidates.
fn mix(candidate: u64, key: u64) -> u64 {
    let mut bytes = [0; 16];
    bytes[..8].copy_from_slice(&candidate.to_le_bytes());
    bytes[8..].copy_from_slice(&key.to_le_bytes());
    of(&bytes)
}

/// Between 0 and 1, and neither of them: 52 bits and a half, which a float holds exactly.
fn unit(hash: u64) -> f64 {
    ((hash >> 12) as f64 + 0.5) / (1u64 << 52) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The figures of the algorithm's reference implementation. Whatever changes them moves every
    /// session of every deployment.
    #[test]
    fn the_hash_is_xxh64() {
        assert_eq!(of(b""), 0xef46_db37_51d8_e999);
        assert_eq!(of(b"a"), 0xd24e_c4f1_a98c_6e5b);
        assert_eq!(of(b"abc"), 0x44bc_2cf5_ad77_0999);
    }

    #[test]
    fn both_parts_of_the_mix_count() {
        let mixed = mix(1, 2);
        assert_eq!(mixed, mix(1, 2));
        assert_ne!(mixed, mix(2, 1));
        assert_ne!(mixed, mix(1, 3));
        assert_ne!(mixed, mix(3, 2));
    }

    #[test]
    fn scores_are_positive_and_finite_at_both_ends() {
        for hash in [0, 1, u64::MAX - 1, u64::MAX] {
            let unit = unit(hash);
            assert!(unit > 0.0 && unit < 1.0, "{unit}");
            let score = -f64::from(u32::MAX) / unit.ln();
            assert!(score > 0.0 && score.is_finite(), "{score}");
        }
    }
}
