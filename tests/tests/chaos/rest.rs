//! What a broker holds when nobody is there.

use std::fs;

use steadfast_tests::broker::Broker;
use steadfast_tests::wait::eventually_async;

/// What a broker may have more than before the storm, in bytes: its allocator keeps some of what it has had.
const KEPT_MAX: u64 = 48 << 20;

/// The kernel's view of the broker.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rest {
    descriptors: usize,
    /// Bytes.
    pub(crate) resident: u64,
}

impl Rest {
    pub(crate) async fn of(broker: &Broker) -> Self {
        // What its first page takes stays.
        broker.get("/metrics").await;
        Self::read(broker.id())
    }

    fn read(id: u32) -> Self {
        let descriptors = fs::read_dir(format!("/proc/{id}/fd")).expect("a process of ours").count();
        let status = fs::read_to_string(format!("/proc/{id}/status")).expect("a process of ours");
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("a size");
        let kib: u64 = resident.trim().trim_end_matches(" kB").parse().expect("a number");
        Self { descriptors, resident: kib * 1024 }
    }

    /// Waits until the broker has come back to this, and holds nothing of anybody's; what it has then.
    pub(crate) async fn comes_back(self, broker: &Broker) -> Self {
        broker.wait_sessions(0).await;
        for name in ["steadfast_unacknowledged_bytes", "steadfast_buffered_bytes"] {
            broker.wait_metric(name, &[], |bytes| bytes == 0.0).await;
        }
        eventually_async(&format!("{self:?} again"), async || {
            let now = Self::read(broker.id());
            let is_back = now.descriptors <= self.descriptors && now.resident <= self.resident + KEPT_MAX;
            is_back.then_some(now)
        })
        .await
    }
}
