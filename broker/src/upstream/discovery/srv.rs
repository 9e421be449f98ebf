//! SRV records (RFC 2782) as shares of a pool.

use hickory_resolver::proto::rr::rdata::SRV;

use crate::config::settings::WEIGHT_MAX;

/// What one record means for the backends of its target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordShare {
    pub(super) weight: u32,
    pub(super) backup: bool,
}

/// Each record's share, in the order of the records. Those of the lowest priority are primaries and
/// all others backups.
///
/// A record's weight is 16 bits wide, and zero means "hardly ever", not "never". So the weights of
/// the primaries, and likewise those of the backups, are kept when all lie in 1 to 256; otherwise
/// they are scaled so that the largest is 256 and the smallest at least 1. When all are zero, all
/// are 1.
pub(super) fn shares(records: &[SRV]) -> Vec<RecordShare> {
    let lowest = records.iter().map(|record| record.priority).min().unwrap_or_default();
    let is_backup = |record: &SRV| record.priority != lowest;
    let scale = |backup| Scale::of(records.iter().filter(|record| is_backup(record) == backup));
    let (primaries, backups) = (scale(false), scale(true));
    let share = |record: &SRV| {
        let backup = is_backup(record);
        let scale = if backup { &backups } else { &primaries };
        RecordShare { weight: scale.weight(record), backup }
    };
    records.iter().map(share).collect()
}

enum Scale {
    Kept,
    /// All are zero.
    Even,
    ToLargest(u32),
}

impl Scale {
    fn of<'a>(records: impl Iterator<Item = &'a SRV>) -> Scale {
        let weights: Vec<u32> = records.map(|record| u32::from(record.weight)).collect();
        match weights.iter().copied().max() {
            None | Some(0) => Scale::Even,
            Some(largest) if largest > WEIGHT_MAX || weights.contains(&0) => Scale::ToLargest(largest),
            Some(_) => Scale::Kept,
        }
    }

    fn weight(&self, record: &SRV) -> u32 {
        let weight = u32::from(record.weight);
        match *self {
            Scale::Kept => weight,
            Scale::Even => 1,
            Scale::ToLargest(largest) => (weight * WEIGHT_MAX / largest).max(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use hickory_resolver::proto::rr::Name;

    use super::*;

    /// Priorities and weights in, weights and whether each is a backup out.
    fn of(records: &[(u16, u16)]) -> Vec<(u32, bool)> {
        let records: Vec<SRV> = records.iter().map(|&(p, w)| SRV::new(p, w, 80, Name::root())).collect();
        shares(&records).into_iter().map(|share| (share.weight, share.backup)).collect()
    }

    #[test]
    fn weights_that_fit_are_kept() {
        assert_eq!(of(&[(0, 1), (0, 20), (0, 256)]), [(1, false), (20, false), (256, false)]);
    }

    #[test]
    fn large_weights_are_scaled() {
        assert_eq!(of(&[(0, 65535), (0, 32768), (0, 1)]), [(256, false), (128, false), (1, false)]);
    }

    #[test]
    fn zero_is_a_tiny_share() {
        assert_eq!(of(&[(0, 0), (0, 1)]), [(1, false), (256, false)]);
        assert_eq!(of(&[(0, 0), (0, 0)]), [(1, false), (1, false)]);
    }

    #[test]
    fn all_but_the_lowest_priority_are_backups() {
        assert_eq!(of(&[(20, 5), (10, 7), (30, 9)]), [(5, true), (7, false), (9, true)]);
    }

    #[test]
    fn primaries_and_backups_are_scaled_apart() {
        assert_eq!(of(&[(1, 10), (2, 1000), (3, 500)]), [(10, false), (256, true), (128, true)]);
    }

    #[test]
    fn no_records_are_no_shares() {
        assert_eq!(of(&[]), []);
    }
}
