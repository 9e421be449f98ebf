//! One test for each arrow of the diagram in [`super`], and for what the broker must not do.

mod breaches;
mod closing;
mod connecting;
mod resuming;
mod rig;
mod schedules;
mod silence;
mod talking;
