// Captions a photo with LiteRT's C API, in C++17.
//
//   lib=$(python -c "import ai_edge_litert as a; print(a.__path__[0])")
//   g++ -std=c++17 -O2 caption.cc -o caption "$lib/libLiteRt.so" -Wl,-rpath,"$lib"
//   ./caption flickr8k.tflite photo.ppm [greedy]
//
// prints the caption, and for each word the location with the most attention.
// Photos are binary PPM, upright and RGB: decode JPEG with a library.

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iostream>
#include <iterator>
#include <map>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "sha256.h"

// The functions of LiteRT's C API (2.3) that are used here. The library comes with
// the Python package ai-edge-litert, which has no headers; with LiteRT's SDK
// include litert/c/*.h instead.
extern "C" {
using Handle = void*;
struct TensorType {  // LiteRtRankedTensorType, which is only passed on here
  int32_t parts[32];
};
int LiteRtCreateEnvironment(int, const void*, Handle* environment);
int LiteRtCreateModelFromBuffer(Handle environment, const void* bytes, size_t,
                                Handle* model);
int LiteRtCreateOptions(Handle* options);
int LiteRtSetOptionsHardwareAccelerators(Handle options, int accelerators);
int LiteRtCreateCompiledModel(Handle environment, Handle model, Handle options,
                              Handle* compiled);
int LiteRtGetNumModelSignatures(Handle model, size_t* count);
int LiteRtGetModelSignature(Handle model, size_t, Handle* signature);
int LiteRtGetSignatureKey(Handle signature, const char** key);
int LiteRtGetNumSignatureOutputs(Handle signature, size_t* count);
int LiteRtGetSignatureOutputName(Handle signature, size_t, const char** name);
int LiteRtGetSignatureInputTensorByIndex(Handle signature, size_t, Handle*);
int LiteRtGetSignatureOutputTensorByIndex(Handle signature, size_t, Handle*);
int LiteRtGetRankedTensorType(Handle tensor, TensorType* type);
int LiteRtGetCompiledModelInputBufferRequirements(Handle compiled, size_t,
                                                  size_t, Handle*);
int LiteRtGetCompiledModelOutputBufferRequirements(Handle compiled, size_t,
                                                   size_t, Handle*);
int LiteRtCreateManagedTensorBufferFromRequirements(Handle environment,
                                                    const TensorType*, Handle,
                                                    Handle* buffer);
int LiteRtGetTensorBufferPackedSize(Handle buffer, size_t* bytes);
int LiteRtLockTensorBuffer(Handle buffer, void** memory, int mode);
int LiteRtUnlockTensorBuffer(Handle buffer);
int LiteRtRunCompiledModel(Handle compiled, size_t signature, size_t,
                           Handle* inputs, size_t, Handle* outputs);
void LiteRtDestroyTensorBuffer(Handle);
void LiteRtDestroyCompiledModel(Handle);
void LiteRtDestroyOptions(Handle);
void LiteRtDestroyModel(Handle);
void LiteRtDestroyEnvironment(Handle);
}
constexpr int kCpu = 1, kRead = 0, kWrite = 1;

void check(int status, const char* what) {
  if (status) {
    throw std::runtime_error(std::string(what) + ": LiteRT's status " +
                             std::to_string(status));
  }
}

using Bytes = std::vector<uint8_t>;

Bytes read_file(const char* path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) throw std::runtime_error(std::string("cannot read ") + path);
  return Bytes(std::istreambuf_iterator<char>(file), {});
}

// The files in the zip archive at the end of the model, which are not compressed.
// The last, sha256.txt, is the SHA-256 of every byte before it. Only the end of the
// archive and the header before each file are believed, as far as they lead from
// one file to the next without a gap.
std::map<std::string, std::string> read_tail(const Bytes& bytes) {
  auto expect = [&](bool right, const char* reason) {
    if (right) return;
    throw std::runtime_error("the model cannot be used: " + std::string(reason) +
                             "; export it again");
  };
  auto number = [&](uint64_t at, int size) {
    expect(at + size <= bytes.size(), "its archive is cut off");
    uint32_t value = 0;
    for (int n = size - 1; n >= 0; n--) value = value << 8 | bytes[at + n];
    return value;
  };
  expect(bytes.size() >= 22 && number(bytes.size() - 22, 4) == 0x06054b50,
         "no vocabulary at its end, so it is no captioner");
  uint64_t list = number(bytes.size() - 6, 4), at = number(list + 42, 4);
  std::map<std::string, std::string> files;
  for (const char* name : {"captioner.json", "vocabulary.txt", "sha256.txt"}) {
    expect(at != list, "it is of format 1, which has no checksum");
    uint64_t size = number(at + 22, 4), begin = at + 30 + number(at + 26, 2);
    expect(number(at, 4) == 0x04034b50 && number(at + 6, 4) == 0 &&
               number(at + 28, 2) == 0,
           "its archive is compressed or damaged");
    expect(begin + size <= bytes.size(), "its archive is cut off");
    auto text = [&](uint64_t from, uint64_t to) {
      return std::string(bytes.begin() + from, bytes.begin() + to);
    };
    expect(text(at + 30, begin) == name, "its archive holds other files");
    files[name] = text(begin, begin + size);
    if (files.size() == 3) {
      expect(files[name] == sha256::digest(bytes.data(), at) + '\n',
             "it was changed or damaged (another SHA-256)");
    }
    at = begin + size;
  }
  expect(at == list, "its archive holds more");
  return files;
}

// The value of a name in captioner.json, which is flat.
std::string setting(const std::string& json, const std::string& name) {
  size_t at = json.find('"' + name + "\":");
  if (at == std::string::npos) throw std::runtime_error("no " + name);
  at = json.find_first_not_of(" \"", at + name.size() + 3);
  return json.substr(at, json.find_first_of(",\"\n}", at) - at);
}

struct Photo {
  int width, height;
  Bytes pixels;  // RGB
};

Photo read_ppm(const char* path) {
  std::ifstream file(path, std::ios::binary);
  std::string kind;
  int width = 0, height = 0, max = 0;
  file >> kind >> width >> height >> max;
  if (kind != "P6" || max != 255 || width < 1 || height < 1 ||
      int64_t(width) * height > 128'000'000) {
    throw std::runtime_error("expected a binary PPM of 8 bits");
  }
  file.get();
  Photo photo{width, height, Bytes(size_t(width) * height * 3)};
  file.read(reinterpret_cast<char*>(photo.pixels.data()), photo.pixels.size());
  if (!file) throw std::runtime_error("the PPM is cut off");
  return photo;
}

struct Neighbours {
  std::vector<int> lower, upper;
  std::vector<float> weight;
};

// For the `size` central pixels of `target` their neighbours in the photo.
Neighbours neighbours(int source, int target, int size) {
  Neighbours result;
  float scale = float(source) / float(target);
  for (int n = 0; n < size; n++) {
    float position = (float((target - size) / 2 + n) + 0.5f) * scale - 0.5f;
    float floor = std::floor(position);
    result.lower.push_back(std::clamp(int(floor), 0, source - 1));
    result.upper.push_back(std::min(int(std::ceil(position)), source - 1));
    result.weight.push_back(position - floor);
  }
  return result;
}

// Bilinear with half-pixel centres and without antialias: as in training, to
// the last bit (with -ffp-contract=off where the processor fuses products).
Bytes fit(const Photo& photo, int size, bool crop) {
  int64_t rows = size, columns = size;
  if (crop) {  // The shorter side to 256/224 of the square, then its centre.
    int64_t shorter = std::min(photo.width, photo.height);
    int64_t target = std::lrint(size * 256.0 / 224);
    rows = (2 * photo.height * target + shorter) / (2 * shorter);
    columns = (2 * photo.width * target + shorter) / (2 * shorter);
  }
  Neighbours vertical = neighbours(photo.height, rows, size);
  Neighbours horizontal = neighbours(photo.width, columns, size);
  Bytes square;
  for (int y = 0; y < size; y++) {
    for (int x = 0; x < size; x++) {
      for (int c = 0; c < 3; c++) {
        auto along = [&](int row) {
          const uint8_t* line = &photo.pixels[size_t(row) * photo.width * 3];
          float left = line[horizontal.lower[x] * 3 + c];
          float right = line[horizontal.upper[x] * 3 + c];
          return left + (right - left) * horizontal.weight[x];
        };
        float above = along(vertical.lower[y]), below = along(vertical.upper[y]);
        square.push_back(std::lrint(above + (below - above) * vertical.weight[y]));
      }
    }
  }
  return square;
}

// Runs `greedy` or `beam`; returns its outputs by name.
std::map<std::string, Bytes> run(const Bytes& file, const std::string& method,
                                 const Bytes& image) {
  Handle environment, model, options, compiled, signature, tensor, requirements;
  check(LiteRtCreateEnvironment(0, nullptr, &environment), "environment");
  check(LiteRtCreateModelFromBuffer(environment, file.data(), file.size(), &model),
        "model");
  check(LiteRtCreateOptions(&options), "options");
  check(LiteRtSetOptionsHardwareAccelerators(options, kCpu), "options");
  check(LiteRtCreateCompiledModel(environment, model, options, &compiled),
        "compilation");
  size_t signatures = 0, index = 0;
  check(LiteRtGetNumModelSignatures(model, &signatures), "signatures");
  for (; index < signatures; index++) {
    const char* key;
    check(LiteRtGetModelSignature(model, index, &signature), "signature");
    check(LiteRtGetSignatureKey(signature, &key), "key");
    if (key == method) break;
  }
  if (index == signatures) throw std::runtime_error("no signature " + method);

  TensorType type;
  Handle input;
  void* memory;
  size_t bytes = 0, count = 0;
  check(LiteRtGetSignatureInputTensorByIndex(signature, 0, &tensor), "input");
  check(LiteRtGetRankedTensorType(tensor, &type), "type");
  check(LiteRtGetCompiledModelInputBufferRequirements(compiled, index, 0,
                                                      &requirements), "input");
  check(LiteRtCreateManagedTensorBufferFromRequirements(environment, &type,
                                                        requirements, &input), "input");
  check(LiteRtGetTensorBufferPackedSize(input, &bytes), "size");
  if (bytes != image.size()) throw std::runtime_error("another image size");
  check(LiteRtLockTensorBuffer(input, &memory, kWrite), "lock");
  std::memcpy(memory, image.data(), bytes);
  check(LiteRtUnlockTensorBuffer(input), "unlock");

  check(LiteRtGetNumSignatureOutputs(signature, &count), "outputs");
  std::vector<Handle> outputs(count);
  for (size_t n = 0; n < count; n++) {
    check(LiteRtGetSignatureOutputTensorByIndex(signature, n, &tensor), "output");
    check(LiteRtGetRankedTensorType(tensor, &type), "type");
    check(LiteRtGetCompiledModelOutputBufferRequirements(compiled, index, n,
                                                         &requirements), "output");
    check(LiteRtCreateManagedTensorBufferFromRequirements(
              environment, &type, requirements, &outputs[n]), "output");
  }
  check(LiteRtRunCompiledModel(compiled, index, 1, &input, count,
                               outputs.data()), "run");

  std::map<std::string, Bytes> results;
  for (size_t n = 0; n < count; n++) {
    const char* name;
    check(LiteRtGetSignatureOutputName(signature, n, &name), "name");
    check(LiteRtGetTensorBufferPackedSize(outputs[n], &bytes), "size");
    check(LiteRtLockTensorBuffer(outputs[n], &memory, kRead), "lock");
    const uint8_t* values = static_cast<const uint8_t*>(memory);
    results[name] = Bytes(values, values + bytes);
    check(LiteRtUnlockTensorBuffer(outputs[n]), "unlock");
    LiteRtDestroyTensorBuffer(outputs[n]);
  }
  LiteRtDestroyTensorBuffer(input);
  LiteRtDestroyCompiledModel(compiled);
  LiteRtDestroyOptions(options);
  LiteRtDestroyModel(model);
  LiteRtDestroyEnvironment(environment);
  return results;
}

template <typename Value>
std::vector<Value> values(const Bytes& bytes) {
  std::vector<Value> result(bytes.size() / sizeof(Value));
  std::memcpy(result.data(), bytes.data(), result.size() * sizeof(Value));
  return result;
}

// Blocks of scripts without spaces: Thai, Lao, Burmese, Khmer, Tai, kana, Han, ...
constexpr uint32_t kUnspaced[][2] = {
    {0x0E01, 0x0E46}, {0x0E81, 0x0EC6}, {0x0EDC, 0x0EDF}, {0x1000, 0x103F},
    {0x104C, 0x108F}, {0x109A, 0x109F}, {0x1780, 0x17DD}, {0x1950, 0x19CF},
    {0x1A20, 0x1A7F}, {0x1AA0, 0x1AAF}, {0x3005, 0x312F}, {0x31A0, 0x31FF},
    {0x3400, 0xA4CF}, {0xA9E0, 0xA9EF}, {0xA9FA, 0xA9FE}, {0xAA60, 0xAADF},
    {0xF900, 0xFAFF}, {0x16FE0, 0x18DFF}, {0x1AFF0, 0x1B2FF}, {0x20000, 0x3FFFD}};

bool is_unspaced(const std::string& word) {
  if (word.empty()) return false;
  uint8_t first = word[0];  // UTF-8
  int more = first < 0xC0 ? 0 : first < 0xE0 ? 1 : first < 0xF0 ? 2 : 3;
  uint32_t code = more ? first & (0x3F >> more) : first;
  for (int n = 1; n <= more && n < int(word.size()); n++) {
    code = code << 6 | (word[n] & 0x3F);
  }
  return std::any_of(std::begin(kUnspaced), std::end(kUnspaced),
                     [&](auto& block) { return block[0] <= code && code <= block[1]; });
}

std::string join_words(const std::vector<std::string>& words) {
  std::string text;
  bool close = true;  // No space follows.
  for (const std::string& word : words) {
    bool unspaced = is_unspaced(word);
    text += (close || unspaced ? "" : " ") + word;
    close = unspaced;
  }
  return text;
}

int main(int count, char** arguments) try {
  if (count < 3) {
    throw std::runtime_error("usage: caption MODEL.tflite PHOTO.ppm [greedy]");
  }
  Bytes file = read_file(arguments[1]);  // LiteRT gets the bytes that are checked.
  auto tail = read_tail(file);
  const std::string& json = tail.at("captioner.json");
  std::vector<std::string> vocabulary;
  std::istringstream lines(tail.at("vocabulary.txt"));
  for (std::string line; std::getline(lines, line);) vocabulary.push_back(line);

  Bytes image = fit(read_ppm(arguments[2]), std::stoi(setting(json, "image_size")),
                    setting(json, "resize_mode") == "crop");
  auto outputs = run(file, count > 3 ? arguments[3] : "beam", image);
  auto tokens = values<int32_t>(outputs.at("tokens"));
  auto attention = values<float>(outputs.at("attention"));
  int length = values<int32_t>(outputs.at("length")).at(0);
  int columns = std::stoi(setting(json, "columns"));
  int locations = columns * std::stoi(setting(json, "rows"));

  std::vector<std::string> words;
  for (int t = 0; t < length; t++) words.push_back(vocabulary.at(tokens.at(t)));
  std::cout << join_words(words) << "\nlog-probability "
            << values<float>(outputs.at("log_probability")).at(0) << '\n';
  for (int t = 0; t < length; t++) {
    auto first = attention.begin() + t * locations;
    int peak = std::max_element(first, first + locations) - first;
    std::cout << words[t] << ": row " << peak / columns
              << ", column " << peak % columns << ", " << first[peak] << '\n';
  }
} catch (const std::exception& error) {
  std::cerr << error.what() << '\n';
  return 1;
}
