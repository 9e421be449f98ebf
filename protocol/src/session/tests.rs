//! One test for each arrow of the diagrams in [`super`], [`super::failover`], [`super::migration`] and [`super::orphan`], and for each
//! sentence of the guarantees: what the client and the backends get to see, byte for byte.

mod answers;
mod break_before_make;
mod client_closes;
mod closing;
mod conversing;
mod deadlines;
mod failing;
mod late;
mod limits;
mod moving;
mod orphans;
mod planned;
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
