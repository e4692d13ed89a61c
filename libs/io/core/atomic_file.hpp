#pragma once
#include <filesystem>
#include <functional>
#include <span>
#include <string_view>

namespace wsp {

/// The steps at which a test can make publishing fail.
enum class FileStep { open, write, sync, close, rename, sync_directory };

/// Install a hook that is called before each step of every publish and may throw; empty removes it.
/// For tests only; not thread-safe against running publishes.
void set_file_fault_hook(std::function<void(FileStep, const std::filesystem::path&)> hook);

/// Publish bytes at `path` so that a reader sees the old file or the whole new one, never a part.
/// A file that holds these bytes already is left alone, so that a rerun touches only what changed.
/// The umask takes from `mode`. Throws Error(output) with what to do when the disk is full or the
/// place is not writable.
void write_file_atomic(const std::filesystem::path& path, std::span<const std::uint8_t> bytes,
                       unsigned mode = 0644);
void write_file_atomic(const std::filesystem::path& path, std::string_view text,
                       unsigned mode = 0644);

/// The same for one of many derived files: readers see all or nothing, but after a power failure
/// the file may be missing or empty. Call sync_filesystem() before publishing what vouches for it.
void write_file_unsynced(const std::filesystem::path& path, std::span<const std::uint8_t> bytes);
void write_file_unsynced(const std::filesystem::path& path, std::string_view text);
/// Make everything written so far to the file system of `directory` durable: one wait in place of
/// one per file. Throws Error(output).
void sync_filesystem(const std::filesystem::path& directory);

/// Publish a new file, whole or not at all: false where one stands there already, which is left
/// alone, also where another process made it at this moment. Throws Error(output).
bool publish_new(const std::filesystem::path& path, std::string_view text, unsigned mode);

/// Write a file for publish_file(): whole, not synced; throws Error(output) and leaves none.
void write_temporary(const std::filesystem::path& temporary, std::span<const std::uint8_t> bytes);

/// Publish a file that something else wrote and closed at `temporary` (same directory as `path`);
/// it is removed instead where `path` holds the same bytes already.
void publish_file(const std::filesystem::path& temporary, const std::filesystem::path& path);

/// Give a directory (same parent) its name, durably. One that has the name already changes places
/// with it, so that no moment is without; where the file system cannot do that, it is renamed to
/// `path`.old before. Throws Error(output).
void publish_directory(const std::filesystem::path& made, const std::filesystem::path& path);

/// Read a whole regular file; throws Error(failure) when it cannot be read, and where it is none: a
/// FIFO would wait for a writer.
std::string read_file(const std::filesystem::path& path);

}  // namespace wsp
