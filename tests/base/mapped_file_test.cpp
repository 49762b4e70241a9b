#include "base/mapped_file.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "base/error.h"

namespace inkstone {
namespace {

constexpr size_t kPages = 512;

// A file of kPages pages, page i filled with the byte i % 251, that is on its disk before anybody maps it.
class MappedFileAdvice : public testing::Test {
 protected:
  void SetUp() override {
    page_ = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    path_ = std::filesystem::temp_directory_path() / ("inkstone_mapped_" + std::to_string(getpid()));
    std::FILE* file = std::fopen(path_.c_str(), "wb");
    ASSERT_NE(file, nullptr);
    for (size_t i = 0; i < kPages; ++i) {
      const std::vector<char> bytes(page_, static_cast<char>(i % 251));
      ASSERT_EQ(std::fwrite(bytes.data(), 1, page_, file), page_);
    }
    std::fflush(file);
    ASSERT_EQ(fsync(fileno(file)), 0);
    std::fclose(file);
  }
  void TearDown() override { std::filesystem::remove(path_); }

  void expect_contents(const MappedFile& file) const {
    ASSERT_EQ(file.bytes().size(), kPages * page_);
    for (size_t i = 0; i < kPages; ++i) {
      ASSERT_EQ(static_cast<size_t>(file.bytes()[i * page_]), i % 251);
      ASSERT_EQ(static_cast<size_t>(file.bytes()[i * page_ + page_ - 1]), i % 251);
    }
  }
  // Pages of [begin, end) in memory.
  size_t in_memory(const MappedFile& file, size_t begin, size_t end) const {
    std::vector<unsigned char> pages(end - begin);
    EXPECT_EQ(mincore(const_cast<std::byte*>(file.bytes().data()) + begin * page_, (end - begin) * page_, pages.data()),
              0);
    size_t count = 0;
    for (const unsigned char page : pages) count += page & 1;
    return count;
  }
  // A file system in memory has nowhere to drop pages to.
  bool on_a_disk() const {
    struct statfs status {};
    return statfs(path_.c_str(), &status) == 0 && status.f_type != 0x01021994;  // tmpfs
  }

  std::filesystem::path path_;
  size_t page_ = 0;
};

TEST_F(MappedFileAdvice, ContentsAreTheSameWhateverWasAdvised) {
  const MappedFile file(path_);
  expect_contents(file);
  for (const size_t begin : {size_t{0}, size_t{1}, page_ - 1, page_, 7 * page_ + 13}) {
    for (const size_t size : {size_t{0}, size_t{1}, page_, 3 * page_ + 5, file.bytes().size() - begin}) {
      const auto part = file.bytes().subspan(begin, size);
      file.drop(part);
      file.prefetch(part);
      file.drop(part);
      file.expect_rows(part);
      expect_contents(file);
    }
  }
}

TEST_F(MappedFileAdvice, DropGivesBackWholePagesAndPrefetchReadsThem) {
  if (!on_a_disk()) GTEST_SKIP() << "the temporary folder is in memory";
  const MappedFile file(path_);
  expect_contents(file);
  EXPECT_EQ(in_memory(file, 0, kPages), kPages);
  file.drop(file.bytes().subspan(100 * page_ + 1, 200 * page_));  // page 100 from its second byte, one byte of page 300
  EXPECT_LT(in_memory(file, 101, 300), 10u);
  EXPECT_EQ(in_memory(file, 0, 101), 101u);
  EXPECT_EQ(in_memory(file, 300, kPages), kPages - 300);
  file.prefetch(file.bytes().subspan(150 * page_, 100 * page_));
  for (int i = 0; i < 1000 && in_memory(file, 150, 250) < 100; ++i)  // it is read by and by
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  EXPECT_EQ(in_memory(file, 150, 250), 100u);
  expect_contents(file);
}

TEST_F(MappedFileAdvice, APartOfAnotherFileIsABug) {
  const MappedFile file(path_);
  const std::byte other[1] = {};
  EXPECT_THROW(file.prefetch(other), Error);
  EXPECT_THROW(file.drop(other), Error);
}

TEST_F(MappedFileAdvice, MovedFilesAndFilesOfTheProgram) {
  MappedFile first(path_);
  const auto bytes = first.bytes();
  MappedFile second(std::move(first));
  second.drop(bytes);
  expect_contents(second);
  first = std::move(second);
  first.prefetch(bytes);
  expect_contents(first);
}

}  // namespace
}  // namespace inkstone
