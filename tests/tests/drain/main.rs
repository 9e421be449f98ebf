//! Drains: sessions leave a backend without a reconnect, because somebody asks for it.

mod asks;
mod operations;
