#include "hub/download.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cstring>
#include <optional>

#include "base/error.h"
#include "hub/file_lock.h"
#include "hub/http.h"

namespace inkstone {
namespace {

using Clock = std::chrono::steady_clock;

constexpr size_t kParallel = 4;
constexpr int kWaitMs = 100;
constexpr double kLongestPauseS = 30;
constexpr double kLongestRetryAfterS = 120;

void check_cancelled(const FetchOptions& options) {
  if (options.cancelled && options.cancelled())
    fail(Errc::interrupted, "interrupted: what came is kept, and the same command goes on from there");
}

[[noreturn]] void fail_io(const std::filesystem::path& path, const char* what, int error) {
  if (error == ENOSPC || error == EDQUOT)
    fail(Errc::io, "{}: cannot {}: disk full: {}", path.string(), what, std::strerror(error));
  fail(Errc::io, "{}: cannot {}: {}", path.string(), what, std::strerror(error));
}

// When to try again after a try that brought nothing, and when not at all.
class Retries {
 public:
  explicit Retries(int limit) : limit_(limit) {}

  bool may_start() const { return Clock::now() >= not_before_; }
  // Throws where it is of no use to go on. A try that brought something is not counted.
  void failed(const std::string& what, const HttpReply& reply, bool progressed = false) {
    check(what, reply);
    failures_ = progressed ? 0 : failures_ + 1;
    if (failures_ > limit_)
      fail(Errc::io, "{}: {}; gave up after {} tries. What came is kept: the same command goes on from there", what,
           reason(reply), failures_);
    double pause =
        progressed ? 0.05 : std::min(0.25 * static_cast<double>(1 << std::min(failures_ - 1, 20)), kLongestPauseS);
    if (reply.retry_after_s) {
      if (*reply.retry_after_s > kLongestRetryAfterS)
        fail(Errc::io, "{}: the hub is busy (HTTP {}) and asks to come again in {:.0f} seconds", what, reply.status,
             *reply.retry_after_s);
      pause = std::max(pause, *reply.retry_after_s);
    }
    pause_for(pause);
  }
  void pause_for(double seconds) {
    not_before_ = Clock::now() + std::chrono::milliseconds(static_cast<int64_t>(seconds * 1000));
  }

 private:
  static std::string reason(const HttpReply& reply) {
    if (!reply.error.empty()) return reply.error;
    return fmt::format("the hub answered HTTP {}{}{}", reply.status, reply.message.empty() ? "" : ": ", reply.message);
  }
  static void check(const std::string& what, const HttpReply& reply) {
    if (reply.hopeless) fail(Errc::io, "{}: {}", what, reason(reply));
    const std::string said = reply.message.empty() ? "" : fmt::format(" ({})", reply.message);
    switch (reply.status) {
      case 401:
      case 403:
        fail(Errc::not_found, "{}: the hub refuses it (HTTP {}){}: it is not there, or needs a token that may read it",
             what, reply.status, said);
      case 404:
      case 410: fail(Errc::not_found, "{}: not on the hub (HTTP {}){}", what, reply.status, said);
      default: break;
    }
    const bool again = reply.status == 408 || reply.status == 425 || reply.status == 429 || reply.status >= 500;
    if (reply.error.empty() && reply.status >= 300 && !again) fail(Errc::io, "{}: {}", what, reason(reply));
  }

  int limit_;
  int failures_ = 0;
  Clock::time_point not_before_{};
};

// "bytes 5-9/10" begins at 5 and ends at 10 of 10.
bool is_range(std::string_view text, uint64_t from, uint64_t size) {
  return text == fmt::format("bytes {}-{}/{}", from, size - 1, size) ||
         text == fmt::format("bytes {}-{}/*", from, size - 1);
}

// One file on its way.
class Download {
 public:
  Download(const Fetch& fetch, const FetchOptions& options)
      : fetch_(fetch), options_(options), retries_(options.retries), digest_(fetch.file.kind, fetch.file.size) {}
  ~Download() { close(); }
  Download(const Download&) = delete;
  Download& operator=(const Download&) = delete;

  bool finished() const { return finished_; }
  bool waiting() const { return !finished_ && id_ < 0 && retries_.may_start(); }
  int id() const { return id_; }
  uint64_t have() const { return finished_ ? fetch_.file.size : have_; }
  uint64_t received() const { return received_; }

  // Starts a request, or finds that none is needed (or that another process has the file, and waits).
  void begin(Http& http) {
    if (fd_ < 0 && !open_part()) return;
    if (have_ == fetch_.file.size) {
      conclude();
      if (finished_ || have_ == fetch_.file.size) return;
    }
    problem_.clear();
    HttpRequest request;
    request.url = fetch_.url;
    request.headers = options_.headers;
    request.from = have_;
    request.on_head = [this](const HttpReply& reply) { return take_head(reply); };
    request.on_body = [this](std::span<const std::byte> bytes) { return take(bytes); };
    id_ = http.start(std::move(request));
  }

  // The request of begin() came to its end.
  void ended(HttpReply reply) {
    id_ = -1;
    if (!problem_.empty()) reply.error = problem_;
    if (have_ == fetch_.file.size && problem_.empty() && (reply.status == 200 || reply.status == 206))
      return conclude();
    if (reply.status == 416) {  // the file is not as long as what is here: from the beginning, then
      restart();
      reply.status = 0;
      reply.error = fmt::format("the hub has no bytes from there (HTTP 416)");
    }
    if (reply.error.empty() && reply.status < 300)
      reply.error = fmt::format("found {} bytes, expected {}", have_, fetch_.file.size);
    // A hub that knows no ranges begins anew each time: only what no try had before counts.
    retries_.failed(fetch_.file.path, reply, have_ > most_);
    most_ = std::max(most_, have_);
  }

 private:
  // False where there is nothing to do, now or at all.
  bool open_part() {
    if (!fetch_.lock.empty() && !lock_) lock_ = FileLock::try_take(fetch_.lock);
    if (!fetch_.lock.empty() && !lock_) {
      retries_.pause_for(0.2);
      return false;
    }
    struct stat info;
    if (::lstat(fetch_.done.c_str(), &info) == 0 && S_ISREG(info.st_mode) &&
        static_cast<uint64_t>(info.st_size) == fetch_.file.size) {
      finished_ = true;  // another process, or an earlier call: both have verified it
      lock_.reset();
      return false;
    }
    fd_ = ::open(fetch_.part.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666);
    if (fd_ < 0) fail_io(fetch_.part, "open", errno);
    if (::fstat(fd_, &info) != 0) fail_io(fetch_.part, "read", errno);
    if (!S_ISREG(info.st_mode)) fail(Errc::bad_file, "{}: found no regular file", fetch_.part.string());
    fresh_ = info.st_size == 0;
    if (static_cast<uint64_t>(info.st_size) > fetch_.file.size)
      restart();
    else
      digest_of_part(static_cast<uint64_t>(info.st_size));
    most_ = have_;
    return true;
  }

  void digest_of_part(uint64_t size) {
    std::vector<std::byte> buffer(size_t{1} << 20);
    while (have_ < size) {
      check_cancelled(options_);
      const ssize_t count =
          ::pread(fd_, buffer.data(), std::min<uint64_t>(buffer.size(), size - have_), static_cast<off_t>(have_));
      if (count < 0 && errno == EINTR) continue;
      if (count <= 0) fail_io(fetch_.part, "read", count == 0 ? EIO : errno);
      digest_.update({buffer.data(), static_cast<size_t>(count)});
      have_ += static_cast<uint64_t>(count);
    }
  }

  // Forgets the bytes that are there.
  void restart() {
    if (::ftruncate(fd_, 0) != 0) fail_io(fetch_.part, "write", errno);
    have_ = 0;
    fresh_ = true;
    digest_ = Digest(fetch_.file.kind, fetch_.file.size);
  }

  bool take_head(const HttpReply& reply) {
    const uint64_t size = fetch_.file.size;
    // Some servers send the rest that was asked for with status 200: then Content-Range, or the length, says so.
    const bool rest = reply.status == 206 || !reply.content_range.empty() ||
                      (have_ > 0 && reply.content_length == size - have_ && *reply.content_length != size);
    if (!reply.content_range.empty() && !is_range(reply.content_range, have_, size))
      problem_ = fmt::format("the hub sent {} after being asked from byte {} of {}", reply.content_range, have_, size);
    if (!rest && have_ > 0) restart();
    if (problem_.empty() && reply.content_length && *reply.content_length != size - have_)
      problem_ = fmt::format("the hub sends {} bytes, expected {}", *reply.content_length, size - have_);
    return problem_.empty();
  }

  bool take(std::span<const std::byte> bytes) {
    if (bytes.size() > fetch_.file.size - have_) {
      problem_ = fmt::format("the hub sends more than {} bytes", fetch_.file.size);
      return false;
    }
    for (std::span<const std::byte> rest = bytes; !rest.empty();) {
      const ssize_t count = ::pwrite(fd_, rest.data(), rest.size(), static_cast<off_t>(have_));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) fail_io(fetch_.part, "write", errno);
      digest_.update(rest.first(static_cast<size_t>(count)));
      rest = rest.subspan(static_cast<size_t>(count));
      have_ += static_cast<uint64_t>(count);
      received_ += static_cast<uint64_t>(count);
    }
    return true;
  }

  // All bytes are there: they get their name, or are thrown away.
  void conclude() {
    const std::string found = digest_.finish();
    if (found == fetch_.file.digest) {
      if (::fsync(fd_) != 0) fail_io(fetch_.part, "flush", errno);
      if (::rename(fetch_.part.c_str(), fetch_.done.c_str()) != 0) fail_io(fetch_.done, "rename", errno);
      finished_ = true;
      close();
      lock_.reset();
      return;
    }
    // What an earlier call left may be damaged; what this one fetched from the first byte is what the hub has. Once
    // more all the same: proxies break bytes.
    const bool again = !fresh_ || mismatches_++ == 0;
    restart();
    if (again) return;
    ::unlink(fetch_.part.c_str());
    fail(Errc::bad_file, "{}: {}: found {}, expected {}: not what the hub announced, and thrown away", fetch_.file.path,
         fetch_.file.kind == DigestKind::sha256 ? "sha256" : "git blob", found, fetch_.file.digest);
  }

  void close() {
    if (fd_ >= 0) ::close(fd_);
    fd_ = -1;
  }

  const Fetch& fetch_;
  const FetchOptions& options_;
  Retries retries_;
  Digest digest_;  // of the first have_ bytes
  std::optional<FileLock> lock_;
  int fd_ = -1, id_ = -1;
  uint64_t have_ = 0, received_ = 0;
  std::string problem_;  // why we ended a transfer
  uint64_t most_ = 0;    // have_ of the best try
  bool fresh_ = false;   // all bytes came since begin()
  int mismatches_ = 0;
  bool finished_ = false;
};

}  // namespace

uint64_t fetch_files(const std::vector<Fetch>& files, const FetchOptions& options) {
  std::vector<std::unique_ptr<Download>> downloads;
  uint64_t total = 0;
  for (const Fetch& file : files) {
    downloads.push_back(std::make_unique<Download>(file, options));
    total += file.file.size;
  }
  Http http;  // goes first: its requests point into the downloads
  while (!std::ranges::all_of(downloads, &Download::finished)) {
    check_cancelled(options);
    auto active = std::ranges::count_if(downloads, [](const auto& download) { return download->id() >= 0; });
    for (const auto& download : downloads) {
      if (active >= static_cast<ptrdiff_t>(kParallel)) break;
      if (!download->waiting()) continue;
      download->begin(http);
      active += download->id() >= 0;
    }
    for (Http::Finished& finished : http.wait(kWaitMs))
      (*std::ranges::find(downloads, finished.id, &Download::id))->ended(std::move(finished.reply));
    uint64_t done = 0;
    for (const auto& download : downloads) done += download->have();
    if (options.on_progress) options.on_progress(done, total);
  }
  uint64_t received = 0;
  for (const auto& download : downloads) received += download->received();
  return received;
}

std::string fetch_text(const std::string& url, size_t limit, const std::string& what, const FetchOptions& options) {
  Http http;
  Retries retries(std::min(options.retries, 3));  // nothing has come yet: no use to keep anybody waiting for a minute
  while (true) {
    std::string text;
    HttpRequest request;
    request.url = url;
    request.headers = options.headers;
    request.on_body = [&](std::span<const std::byte> bytes) {
      if (bytes.size() > limit - text.size()) fail(Errc::bad_file, "{}: found more than {} bytes", what, limit);
      text.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
      return true;
    };
    while (!retries.may_start()) {
      check_cancelled(options);
      http.wait(kWaitMs);
    }
    http.start(std::move(request));
    std::vector<Http::Finished> finished;
    while (finished.empty()) {
      check_cancelled(options);
      finished = http.wait(kWaitMs);
    }
    if (finished[0].reply.status == 200 && finished[0].reply.error.empty()) return text;
    retries.failed(what, finished[0].reply);
  }
}

}  // namespace inkstone
