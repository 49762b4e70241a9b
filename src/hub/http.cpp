#include "hub/http.h"

#include <curl/curl.h>
#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <map>

#include "base/error.h"
#include "base/json.h"

namespace inkstone {
namespace {

constexpr int kMostRedirects = 5;
constexpr long kStallSeconds = 30;

// "127.0.0.1", and no name that begins like it.
bool is_loopback_address(std::string_view host) {
  return host.starts_with("127.") && host.find_first_not_of("0123456789.") == host.npos;
}

struct Origin {
  std::string scheme, host, port;
  bool is_loopback() const { return host == "localhost" || host == "[::1]" || is_loopback_address(host); }
  friend bool operator==(const Origin&, const Origin&) = default;
};

// Nothing where the URL is none, is of another scheme, or has a user's name in it.
std::optional<Origin> origin_of(const std::string& url) {
  const std::unique_ptr<CURLU, decltype(&curl_url_cleanup)> parts(curl_url(), curl_url_cleanup);
  if (!parts || curl_url_set(parts.get(), CURLUPART_URL, url.c_str(), 0) != CURLUE_OK) return std::nullopt;
  const auto part = [&](CURLUPart what) {
    char* text = nullptr;
    std::string copy;
    if (curl_url_get(parts.get(), what, &text, what == CURLUPART_PORT ? CURLU_DEFAULT_PORT : 0) == CURLUE_OK)
      copy = text;
    curl_free(text);
    return copy;
  };
  if (!part(CURLUPART_USER).empty() || !part(CURLUPART_PASSWORD).empty()) return std::nullopt;
  Origin origin{part(CURLUPART_SCHEME), part(CURLUPART_HOST), part(CURLUPART_PORT)};
  if (origin.scheme != "https" && origin.scheme != "http") return std::nullopt;
  return origin;
}

std::string lower(std::string_view text) {
  std::string out(text);
  std::ranges::transform(out, out.begin(), [](char c) { return c >= 'A' && c <= 'Z' ? char(c + 32) : c; });
  return out;
}

bool is_hopeless(CURLcode code) {
  return code == CURLE_PEER_FAILED_VERIFICATION || code == CURLE_SSL_CACERT_BADFILE || code == CURLE_SSL_ISSUER_ERROR;
}

// Certificates of a company's proxy, by the variables that others read; else libcurl's default.
const char* certificate_file() {
  for (const char* name : {"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE"})
    if (const char* file = std::getenv(name); file != nullptr && *file != '\0') return file;
  return nullptr;
}

}  // namespace

struct Http::Transfer {
  int id = 0;
  HttpRequest request;
  Origin origin;    // of the request's own URL
  std::string url;  // where redirects have led
  int redirects = 0;
  HttpReply reply;
  bool head_seen = false;
  std::exception_ptr thrown;
  CURL* easy = nullptr;
  curl_slist* headers = nullptr;
  char message[CURL_ERROR_SIZE] = "";

  Transfer() = default;
  Transfer(const Transfer&) = delete;
  Transfer& operator=(const Transfer&) = delete;
  ~Transfer() {
    curl_easy_cleanup(easy);
    curl_slist_free_all(headers);
  }

  bool has_body() const { return reply.status == 200 || reply.status == 206; }
  // No exception may pass through libcurl's frames.
  template <class F>
  bool guarded(F&& call) {
    try {
      return call();
    } catch (...) {
      thrown = std::current_exception();
      return false;
    }
  }
  bool show_head() {
    if (head_seen || !has_body()) return true;
    head_seen = true;
    return guarded([&] { return request.on_head == nullptr || request.on_head(reply); });
  }
  void take_header(std::string_view line);
  static size_t on_header(char* data, size_t size, size_t count, void* self);
  static size_t on_body(char* data, size_t size, size_t count, void* self);
  void prepare(bool with_headers);
  HttpReply result(CURLcode code);
};

struct Http::State {
  CURLM* multi = nullptr;
  std::map<int, std::unique_ptr<Transfer>> transfers;
  int next_id = 0;
};

void Http::Transfer::take_header(std::string_view line) {
  while (!line.empty() && (line.back() == '\r' || line.back() == '\n')) line.remove_suffix(1);
  if (line.starts_with("HTTP/")) {  // a response begins; there may have been one before: 100, a proxy's
    reply = {};
    const size_t space = std::min(line.find(' '), line.size() - 1);
    std::from_chars(line.data() + space + 1, line.data() + line.size(), reply.status);
    return;
  }
  const size_t colon = line.find(':');
  if (colon == line.npos) return;
  const std::string name = lower(line.substr(0, colon));
  std::string_view value = line.substr(colon + 1);
  while (value.starts_with(' ')) value.remove_prefix(1);
  if (name == "content-range") reply.content_range = value;
  if (name == "x-error-message") reply.message = value.substr(0, 300);
  if (name == "content-length") {
    uint64_t length = 0;
    const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), length);
    if (error == std::errc() && end == value.data() + value.size()) reply.content_length = length;
  }
}

size_t Http::Transfer::on_header(char* data, size_t size, size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  const bool going = transfer.guarded([&] {
    transfer.take_header({data, size * count});
    return true;
  });
  return going ? size * count : 0;
}

size_t Http::Transfer::on_body(char* data, size_t size, size_t count, void* self) {
  auto& transfer = *static_cast<Transfer*>(self);
  const size_t bytes = size * count;
  if (!transfer.has_body()) return bytes;  // what a server writes below an error
  const bool going = transfer.show_head() && transfer.guarded([&] {
    return transfer.request.on_body == nullptr || transfer.request.on_body(std::as_bytes(std::span(data, bytes)));
  });
  return going || bytes == 0 ? bytes : 0;
}

void Http::Transfer::prepare(bool with_headers) {
  curl_easy_cleanup(easy);
  curl_slist_free_all(headers);
  headers = nullptr;
  reply = {};
  head_seen = false;
  easy = curl_easy_init();
  CHECK(easy != nullptr);
  const auto set = [this](CURLoption option, auto value) { CHECK(curl_easy_setopt(easy, option, value) == CURLE_OK); };
  set(CURLOPT_URL, url.c_str());
  set(CURLOPT_PROTOCOLS_STR, "http,https");
  set(CURLOPT_USERAGENT, "inkstone");
  set(CURLOPT_HEADEROPT, long{CURLHEADER_SEPARATE});  // a proxy gets none of ours
  set(CURLOPT_CONNECTTIMEOUT, 20L);
  set(CURLOPT_LOW_SPEED_LIMIT, 1L);
  set(CURLOPT_LOW_SPEED_TIME, kStallSeconds);
  set(CURLOPT_ERRORBUFFER, message);
  set(CURLOPT_HEADERFUNCTION, &Transfer::on_header);
  set(CURLOPT_HEADERDATA, this);
  set(CURLOPT_WRITEFUNCTION, &Transfer::on_body);
  set(CURLOPT_WRITEDATA, this);
  set(CURLOPT_PRIVATE, this);
  if (const char* file = certificate_file()) set(CURLOPT_CAINFO, file);
  if (request.from > 0) set(CURLOPT_RANGE, fmt::format("{}-", request.from).c_str());
  if (!with_headers) return;
  for (const std::string& header : request.headers) headers = curl_slist_append(headers, header.c_str());
  if (headers != nullptr) set(CURLOPT_HTTPHEADER, headers);
}

HttpReply Http::Transfer::result(CURLcode code) {
  curl_off_t seconds = 0;
  if (curl_easy_getinfo(easy, CURLINFO_RETRY_AFTER, &seconds) == CURLE_OK && seconds > 0)
    reply.retry_after_s = static_cast<double>(seconds);
  if (code != CURLE_OK) {
    reply.error = message[0] != '\0' ? message : curl_easy_strerror(code);
    reply.hopeless = is_hopeless(code);
  }
  return reply;
}

Http::Http() : state_(std::make_unique<State>()) {
  static const CURLcode ready = curl_global_init(CURL_GLOBAL_DEFAULT);
  CHECK(ready == CURLE_OK);
  state_->multi = curl_multi_init();
  CHECK(state_->multi != nullptr);
}

Http::~Http() {
  for (const auto& [id, transfer] : state_->transfers) curl_multi_remove_handle(state_->multi, transfer->easy);
  state_->transfers.clear();
  curl_multi_cleanup(state_->multi);
}

int Http::start(HttpRequest request) {
  const std::optional<Origin> origin = origin_of(request.url);
  if (!origin) fail(Errc::usage, "{}: expected an address that begins with https://", json_quote(request.url));
  if (origin->scheme != "https" && !origin->is_loopback())
    fail(Errc::usage, "{}: found plain http, expected https (http only for a server on this machine)",
         json_quote(request.url));
  auto transfer = std::make_unique<Transfer>();
  transfer->id = state_->next_id++;
  transfer->url = request.url;
  transfer->request = std::move(request);
  transfer->origin = *origin;
  transfer->prepare(true);
  CHECK(curl_multi_add_handle(state_->multi, transfer->easy) == CURLM_OK);
  const int id = transfer->id;
  state_->transfers[id] = std::move(transfer);
  return id;
}

std::vector<Http::Finished> Http::wait(int timeout_ms) {
  std::vector<Finished> finished;
  int running = 0;
  CHECK(curl_multi_perform(state_->multi, &running) == CURLM_OK);
  int queued = 0;
  CURLMsg* message = curl_multi_info_read(state_->multi, &queued);
  if (message == nullptr) {
    CHECK(curl_multi_poll(state_->multi, nullptr, 0, timeout_ms, nullptr) == CURLM_OK);
    CHECK(curl_multi_perform(state_->multi, &running) == CURLM_OK);
    message = curl_multi_info_read(state_->multi, &queued);
  }
  for (; message != nullptr; message = curl_multi_info_read(state_->multi, &queued)) {
    if (message->msg != CURLMSG_DONE) continue;
    const CURLcode code = message->data.result;
    Transfer* transfer = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, &transfer);
    char* target = nullptr;
    curl_easy_getinfo(message->easy_handle, CURLINFO_REDIRECT_URL, &target);
    const std::string location = target == nullptr ? "" : target;
    CHECK(curl_multi_remove_handle(state_->multi, transfer->easy) == CURLM_OK);
    if (!transfer->thrown && code == CURLE_OK) transfer->show_head();  // of an empty body
    if (transfer->thrown) {
      const std::exception_ptr thrown = transfer->thrown;
      state_->transfers.erase(transfer->id);
      std::rethrow_exception(thrown);
    }
    HttpReply reply = transfer->result(code);
    if (code == CURLE_OK && reply.status >= 300 && reply.status < 400) {
      const std::optional<Origin> origin = origin_of(location);
      // Only a server on this machine may send on to plain http, and only to this machine.
      const bool allowed =
          origin && (origin->scheme == "https" || (transfer->origin.scheme == "http" && origin->is_loopback()));
      if (allowed && ++transfer->redirects <= kMostRedirects) {
        transfer->url = location;
        transfer->prepare(*origin == transfer->origin);
        CHECK(curl_multi_add_handle(state_->multi, transfer->easy) == CURLM_OK);
        continue;
      }
      reply.hopeless = true;
      reply.error = allowed ? fmt::format("more than {} redirects", kMostRedirects)
                            : fmt::format("a redirect to {}, expected https", json_quote(location.substr(0, 200)));
    }
    finished.push_back({transfer->id, std::move(reply)});
    state_->transfers.erase(finished.back().id);
  }
  return finished;
}

std::string percent_encoded(std::string_view text) {
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '.' || c == '_' || c == '~';
    if (plain)
      out += c;
    else
      out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

}  // namespace inkstone
