//! Drains: sessions leave a backend without a reconnect, because somebody asks for it.

mod asks;
mod chaos;
mod crowd;
mod evacuations;
mod faults;
mod load;
mod operations;
mod rolling;
mod scene;
mod traffic;
