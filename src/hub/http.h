// Http: several GET requests at once over HTTPS, by libcurl. Proxies, certificates and their variables are libcurl's.
// One thread; calls back only inside wait().
//
// What it refuses whatever the caller says: plain http (but for a server on this machine, asked for as such), more than
// five redirects, a redirect from https to http, credentials in a URL. Headers of a request go to the origin (scheme,
// host and port) of its URL and never to where that redirects.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace inkstone {

// What came of a request.
struct HttpReply {
  int status = 0;                          // of the last response; 0: none came
  std::string error;                       // why the transfer broke; empty: it is whole
  bool hopeless = false;                   // another try would end the same: a certificate, a refused redirect
  std::optional<uint64_t> content_length;  // as the header has it
  std::string content_range;               // "bytes 5-9/10"
  std::string message;                     // the hub's own sentence about an error
  std::optional<double> retry_after_s;
};

struct HttpRequest {
  std::string url;
  std::vector<std::string> headers;  // "Name: value", for the origin of `url` only
  uint64_t from = 0;                 // asks for the bytes from here on
  // Before the first byte of a response with status 200 or 206: its status and headers. False ends the transfer.
  std::function<bool(const HttpReply&)> on_head;
  // Bytes of such a response; those of others are dropped. False ends the transfer. What these throw, wait() throws.
  std::function<bool(std::span<const std::byte>)> on_body;
};

class Http {
 public:
  Http();
  ~Http();
  Http(const Http&) = delete;
  Http& operator=(const Http&) = delete;

  struct Finished {
    int id;
    HttpReply reply;
  };

  // Begins a request and returns its id. Throws Error(usage) for a URL that is none or is refused.
  int start(HttpRequest request);
  // Carries all requests on until some are finished or `timeout_ms` has passed.
  std::vector<Finished> wait(int timeout_ms);

 private:
  struct Transfer;
  struct State;
  std::unique_ptr<State> state_;
};

// `text` with all but letters, digits and "-._~" as %XX.
std::string percent_encoded(std::string_view text);

}  // namespace inkstone
