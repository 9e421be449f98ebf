//! One test for each arrow of the diagrams in [`super`], [`super::failover`] and [`super::migration`], [`super::orphan`], and for each
//! sentence of the guarantees: what the client and the backends get to see, byte for byte.

mod closing;
mod deadlines;
mod departing;
mod failing;
mod goodbye;
mod late;
mod limits;
mod moving;
mod orphans;
mod poison;
mod pressing;
mod relaying;
mod returning;
mod rig;
mod schedules;
mod serving;
mod silence;
mod slow;
mod stalls;
mod together;
mod wire;
mod words;
mod world;
