// emu_cuda.cpp - link-time substitute for libcudart, libcublasLt and libnccl (prototype).
// Streams are deferred queues; EMU_SCHED = eager | lazy | random:SEED decides when they run.  NCCL runs over MPI.
#include <cuda_runtime_api.h>
#include <cublasLt.h>
#include <cuda_bf16.h>
#include <nccl.h>
#include <mpi.h>
#include <oneapi/dnnl/dnnl.h>
#include <sys/mman.h>
#include <chrono>
#include <cmath>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <random>
#include <set>
#include <string>
#include <thread>
#include <vector>
#include "stream_queue.h"
using plumb::emulation::Step;
namespace emu { void enqueue(void* stream, const char* what, std::function<Step()> op); }
#ifdef __SANITIZE_ADDRESS__
extern "C" void __asan_poison_memory_region(void const volatile*, size_t); extern "C" void __asan_unpoison_memory_region(void const volatile*, size_t);
#define POISON(p, n) __asan_poison_memory_region(p, n)
#define UNPOISON(p, n) __asan_unpoison_memory_region(p, n)
#else
#define POISON(p, n)
#define UNPOISON(p, n)
#endif
namespace {
struct Op { std::string what; std::function<Step()> fn; bool started = false; };
}
struct CUstream_st { std::deque<Op> q; int id = 0; };
struct CUevent_st { uint64_t recorded = 0, fired = 0; double t = 0; };   // versions: n-th record / highest record that has executed
namespace {
double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }
struct State {
  CUstream_st null_stream; std::set<CUstream_st*> streams; int next_id = 1; cudaError_t sticky = cudaSuccess, last = cudaSuccess; std::string sched = "eager"; std::mt19937 rng; bool running = false, protect = false; int rank = -1;
  char* heap = nullptr; size_t cap = size_t(16) << 30, used = 0; std::map<char*, size_t> dev, host; uint64_t ops = 0, peak_q = 0, toggles = 0;
  State() {
    if (const char* e = getenv("EMU_SCHED")) sched = e;
    unsigned seed = 1; if (sched.rfind("random:", 0) == 0) { seed = unsigned(atoi(sched.c_str() + 7)); sched = "random"; } rng.seed(seed);
    protect = getenv("EMU_PROTECT") != nullptr; streams.insert(&null_stream);
    heap = static_cast<char*>(mmap(nullptr, cap, protect ? PROT_NONE : PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
  }
};
State& S() { static State s; return s; }
[[noreturn, gnu::format(printf, 1, 2)]] void die(const char* f, ...) { char b[1024]; va_list a; va_start(a, f); vsnprintf(b, sizeof b, f, a); va_end(a); fprintf(stderr, "emu[rank %d]: %s\n", S().rank, b); int in = 0; MPI_Initialized(&in); if (in) MPI_Abort(MPI_COMM_WORLD, 70); abort(); }
cudaError_t err(cudaError_t e) { if (e) S().last = e; return e; }
void heap_access(bool on) { State& s = S(); if (s.protect) { s.toggles++; mprotect(s.heap, (s.used + 4095) & ~size_t(4095), on ? PROT_READ | PROT_WRITE : PROT_NONE); } }
bool in_dev(const void* p) { auto c = static_cast<const char*>(p); return c >= S().heap && c < S().heap + S().cap; }
void check_dev_range(const void* p, size_t n, const char* what) {   // the whole range must lie inside one live allocation
  auto& d = S().dev; auto it = d.upper_bound(static_cast<char*>(const_cast<void*>(p)));
  if (it == d.begin() || (--it, static_cast<const char*>(p) + n > it->first + it->second)) die("%s: [%p,+%zu) is not inside a live device allocation", what, p, n);
}
bool pinned(const void* p) { auto& d = S().host; auto it = d.upper_bound(static_cast<char*>(const_cast<void*>(p))); return it != d.begin() && (--it, static_cast<const char*>(p) < it->first + it->second); }
bool step(CUstream_st* st) {   // run the head of one stream; false if it is blocked
  Op& op = st->q.front(); if (op.fn() == Step::Pending) return false; st->q.pop_front(); S().ops++; return true;
}
template <class Stop> void drain(Stop stop, CUstream_st* want) {   // run ops until stop(); prefer `want`, others only as needed (lazy) or at random
  State& s = S(); if (s.running) die("CUDA call from inside a stream operation"); s.running = true; heap_access(true);
  double t0 = now();
  while (!stop()) {
    bool progress = false;
    if (s.sched == "random") { std::vector<CUstream_st*> v; for (auto* x : s.streams) if (!x->q.empty()) v.push_back(x); std::shuffle(v.begin(), v.end(), s.rng); for (auto* x : v) if (step(x)) { progress = true; break; } }
    else { if (want && !want->q.empty() && step(want)) progress = true; else for (auto* x : s.streams) if (x != want && !x->q.empty() && step(x)) { progress = true; break; } }
    if (progress) t0 = now(); else { if (now() - t0 > 10) { std::string w; for (auto* x : s.streams) if (!x->q.empty()) w += " [stream " + std::to_string(x->id) + ": " + x->q.front().what + "]"; die("no progress for 10 s; blocked:%s", w.c_str()); } std::this_thread::yield(); }
  }
  heap_access(false); s.running = false;
}
CUstream_st* str(cudaStream_t s) { return s ? s : &S().null_stream; }
}  // namespace
void emu::enqueue(void* stream, const char* what, std::function<Step()> fn) {
  State& s = S(); auto* st = str(static_cast<cudaStream_t>(stream)); st->q.push_back({what, std::move(fn), false}); s.peak_q = std::max<uint64_t>(s.peak_q, st->q.size());
  if (s.sched == "eager") drain([&] { return st->q.empty(); }, st);
  else if (s.sched == "random" && s.rng() % 4 == 0) { uint64_t target = s.ops + 1 + s.rng() % 3; double t = now(); drain([&] { return s.ops >= target || now() - t > 1e-4; }, nullptr); }
}
namespace plumb::emulation {
cudaError_t enqueue(cudaStream_t s, const char* n, std::function<Step()> f) { if (S().sticky) return S().last = S().sticky; emu::enqueue(s, n, std::move(f)); return cudaSuccess; }
void kernel_failed(const std::string& m) { fprintf(stderr, "emu: kernel failed: %s\n", m.c_str()); S().sticky = cudaErrorLaunchFailure; }
cudaError_t check_shared_memory(const void*, const char*, std::size_t) { return cudaSuccess; }
}
#define CHECK_STICKY() do { if (S().sticky) return err(S().sticky); } while (0)
extern "C" {
// ---------------------------------------------------------------- cudart
cudaError_t cudaFuncSetAttribute(const void*, cudaFuncAttribute, int) { return cudaSuccess; }
cudaError_t cudaGetDevice(int* d) { *d = 0; return cudaSuccess; }
cudaError_t cudaRuntimeGetVersion(int* v) { *v = 13000; return cudaSuccess; }
cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int) { memset(p, 0, sizeof *p); snprintf(p->name, sizeof p->name, "emulated GPU"); p->major = 9; p->multiProcessorCount = 4; p->totalGlobalMem = size_t(16) << 30; return cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t s);
cudaError_t cudaGetDeviceCount(int* n) { *n = 1; return cudaSuccess; }
cudaError_t cudaSetDevice(int d) { return d == 0 ? cudaSuccess : err(cudaErrorInvalidDevice); }
cudaError_t cudaGetLastError() { cudaError_t e = S().last; S().last = S().sticky; return e; }
const char* cudaGetErrorString(cudaError_t e) { return e == cudaSuccess ? "no error" : "emulated CUDA error"; }
cudaError_t cudaMalloc(void** p, size_t n) {
  State& s = S(); CHECK_STICKY(); size_t need = ((n + 255) & ~size_t(255)) + 256; if (s.used + need > s.cap) return err(cudaErrorMemoryAllocation);
  char* q = s.heap + s.used; s.used += need; s.dev[q] = n; heap_access(true); UNPOISON(q, need); memset(q, 0xff, need); POISON(q + n, need - n); heap_access(false); *p = q; return cudaSuccess;   // NaN-filled, never reused
}
cudaError_t cudaFree(void* p) { if (!p) return cudaSuccess; State& s = S(); drain([&] { for (auto* x : s.streams) if (!x->q.empty()) return false; return true; }, nullptr); auto it = s.dev.find(static_cast<char*>(p)); if (it == s.dev.end()) return err(cudaErrorInvalidValue); heap_access(true); memset(it->first, 0xff, it->second); POISON(it->first, it->second); heap_access(false); s.dev.erase(it); return cudaSuccess; }
cudaError_t cudaMallocHost(void** p, size_t n) { *p = aligned_alloc(4096, (n + 4095) & ~size_t(4095)); memset(*p, 0xff, n); S().host[static_cast<char*>(*p)] = n; return cudaSuccess; }
cudaError_t cudaFreeHost(void* p) { S().host.erase(static_cast<char*>(p)); free(p); return cudaSuccess; }
cudaError_t cudaStreamCreateWithFlags(cudaStream_t* s, unsigned f) { if (f != cudaStreamNonBlocking) die("only cudaStreamNonBlocking streams are modelled"); *s = new CUstream_st; (*s)->id = S().next_id++; S().streams.insert(*s); return cudaSuccess; }
cudaError_t cudaStreamSynchronize(cudaStream_t s) { auto* st = str(s); drain([&] { return st->q.empty(); }, st); CHECK_STICKY(); return cudaSuccess; }
cudaError_t cudaStreamQuery(cudaStream_t s) { return cudaStreamSynchronize(s); }
cudaError_t cudaStreamDestroy(cudaStream_t s) { cudaStreamSynchronize(s); S().streams.erase(s); delete s; return cudaSuccess; }
cudaError_t cudaDeviceSynchronize() { drain([&] { for (auto* x : S().streams) if (!x->q.empty()) return false; return true; }, nullptr); CHECK_STICKY(); return cudaSuccess; }
cudaError_t cudaMemcpyAsync(void* d, const void* s, size_t n, cudaMemcpyKind k, cudaStream_t st) {
  CHECK_STICKY(); bool dd = in_dev(d), sd = in_dev(s); cudaMemcpyKind real = dd ? (sd ? cudaMemcpyDeviceToDevice : cudaMemcpyHostToDevice) : (sd ? cudaMemcpyDeviceToHost : cudaMemcpyHostToHost);
  if (k != cudaMemcpyDefault && k != real) return err(cudaErrorInvalidValue);
  if (dd) check_dev_range(d, n, "cudaMemcpyAsync dst");
  if (sd) check_dev_range(s, n, "cudaMemcpyAsync src");
  if (real == cudaMemcpyHostToDevice && !pinned(s)) { auto staged = std::make_shared<std::vector<char>>(static_cast<const char*>(s), static_cast<const char*>(s) + n); emu::enqueue(st, "H2D pageable", [=] { memcpy(d, staged->data(), n); return Step::Done; }); return cudaSuccess; }   // pageable source is captured at the call
  emu::enqueue(st, "memcpy", [=] { memcpy(d, s, n); return Step::Done; });
  if (real == cudaMemcpyDeviceToHost && !pinned(d)) return cudaStreamSynchronize(st);   // pageable D2H is synchronous
  return cudaSuccess;
}
cudaError_t cudaMemsetAsync(void* d, int v, size_t n, cudaStream_t st) { CHECK_STICKY(); check_dev_range(d, n, "cudaMemsetAsync"); emu::enqueue(st, "memset", [=] { memset(d, v, n); return Step::Done; }); return cudaSuccess; }
cudaError_t cudaEventCreateWithFlags(cudaEvent_t* e, unsigned) { *e = new CUevent_st; return cudaSuccess; }
cudaError_t cudaEventDestroy(cudaEvent_t) { return cudaSuccess; }   // prototype: leaked, waits may still refer to it
cudaError_t cudaEventRecord(cudaEvent_t e, cudaStream_t s) { uint64_t v = ++e->recorded; emu::enqueue(s, "event record", [=] { if (e->fired < v) e->fired = v; e->t = now(); return Step::Done; }); return cudaSuccess; }
cudaError_t cudaStreamWaitEvent(cudaStream_t s, cudaEvent_t e, unsigned) { uint64_t v = e->recorded; if (v) emu::enqueue(s, "event wait", [=] { return e->fired >= v ? Step::Done : Step::Pending; }); return cudaSuccess; }   // waits for the record made so far; never-recorded: no-op, as in CUDA
cudaError_t cudaEventSynchronize(cudaEvent_t e) { uint64_t v = e->recorded; drain([&] { return e->fired >= v; }, nullptr); CHECK_STICKY(); return cudaSuccess; }
cudaError_t cudaEventQuery(cudaEvent_t e) { return e->fired >= e->recorded ? cudaSuccess : cudaErrorNotReady; }
cudaError_t cudaEventElapsedTime(float* ms, cudaEvent_t a, cudaEvent_t b) { *ms = float((b->t - a->t) * 1e3); return cudaSuccess; }
// ---------------------------------------------------------------- cublasLt
}
namespace {
struct Desc { cublasComputeType_t ct; cudaDataType_t st; cublasOperation_t ta = CUBLAS_OP_N, tb = CUBLAS_OP_N; cublasLtEpilogue_t ep = CUBLASLT_EPILOGUE_DEFAULT; const void* bias = nullptr; cudaDataType_t bias_t = cudaDataType_t(-1); };
struct Lay { cudaDataType_t t; uint64_t r, c; int64_t ld; int32_t batch = 1; int64_t stride = 0; };
struct Pref { size_t ws = 0; };
size_t tsize(cudaDataType_t t) { return t == CUDA_R_32F ? 4 : t == CUDA_R_16BF ? 2 : 0; }
float get(const void* p, cudaDataType_t t, size_t i) { return t == CUDA_R_32F ? static_cast<const float*>(p)[i] : __bfloat162float(static_cast<const __nv_bfloat16*>(p)[i]); }
void put(void* p, cudaDataType_t t, size_t i, float v) { if (t == CUDA_R_32F) static_cast<float*>(p)[i] = v; else static_cast<__nv_bfloat16*>(p)[i] = __float2bfloat16(v); }
std::vector<float> pack(const void* p, const Lay& l, int b) { std::vector<float> v(l.r * l.c); for (uint64_t j = 0; j < l.c; j++) for (uint64_t i = 0; i < l.r; i++) v[j * l.r + i] = get(p, l.t, size_t(b) * l.stride + j * l.ld + i); return v; }
std::string validate(const Desc& d, const Lay& A, const Lay& B, const Lay& C, const Lay& D) {
  char b[256]; uint64_t m = d.ta ? A.c : A.r, k = d.ta ? A.r : A.c, kb = d.tb ? B.c : B.r, n = d.tb ? B.r : B.c;
  if (k != kb || D.r != m || D.c != n || C.r != m || C.c != n) { snprintf(b, sizeof b, "shapes: op(A) %lux%lu op(B) %lux%lu D %lux%lu", m, k, kb, n, D.r, D.c); return b; }
  for (auto* l : {&A, &B, &C, &D}) { if (l->ld < int64_t(l->r)) { snprintf(b, sizeof b, "ld %ld < rows %lu (column-major)", l->ld, l->r); return b; } if (!tsize(l->t)) return "data type not modelled"; if (l->ld * tsize(l->t) % 16) { snprintf(b, sizeof b, "ld %ld * %zu B is not a multiple of 16 B: tensor-core kernels refuse or slow down", l->ld, tsize(l->t)); if (getenv("EMU_STRICT_ALIGN")) return b; } if (l->batch != D.batch) return "batch counts differ"; }
  if (A.t != B.t || C.t != D.t) return "A/B or C/D types differ";
  if (A.t == CUDA_R_16BF && !(d.ct == CUBLAS_COMPUTE_32F && d.st == CUDA_R_32F)) return "bf16 inputs need CUBLAS_COMPUTE_32F and CUDA_R_32F scale";
  return "";
}
}
extern "C" {
cublasStatus_t cublasLtCreate(cublasLtHandle_t* h) { *h = reinterpret_cast<cublasLtHandle_t>(new int(1)); return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtDestroy(cublasLtHandle_t h) { delete reinterpret_cast<int*>(h); return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulDescCreate(cublasLtMatmulDesc_t* d, cublasComputeType_t c, cudaDataType_t s) { auto* x = new Desc; x->ct = c; x->st = s; *d = reinterpret_cast<cublasLtMatmulDesc_t>(x); return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulDescDestroy(cublasLtMatmulDesc_t d) { delete reinterpret_cast<Desc*>(d); return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc_t d, cublasLtMatmulDescAttributes_t a, const void* p, size_t n) {
  auto* x = reinterpret_cast<Desc*>(d);
  auto set = [&](auto& f) { if (n != sizeof f) return CUBLAS_STATUS_INVALID_VALUE; memcpy(&f, p, n); return CUBLAS_STATUS_SUCCESS; };
  switch (a) { case CUBLASLT_MATMUL_DESC_TRANSA: return set(x->ta); case CUBLASLT_MATMUL_DESC_TRANSB: return set(x->tb); case CUBLASLT_MATMUL_DESC_EPILOGUE: return set(x->ep); case CUBLASLT_MATMUL_DESC_BIAS_POINTER: return set(x->bias); case CUBLASLT_MATMUL_DESC_BIAS_DATA_TYPE: return set(x->bias_t); default: return CUBLAS_STATUS_NOT_SUPPORTED; }
}
cublasStatus_t cublasLtMatrixLayoutCreate(cublasLtMatrixLayout_t* l, cudaDataType t, uint64_t r, uint64_t c, int64_t ld) { *l = reinterpret_cast<cublasLtMatrixLayout_t>(new Lay{t, r, c, ld}); return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout_t l) { delete reinterpret_cast<Lay*>(l); return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatrixLayoutSetAttribute(cublasLtMatrixLayout_t l, cublasLtMatrixLayoutAttribute_t a, const void* p, size_t n) { auto* x = reinterpret_cast<Lay*>(l); if (a == CUBLASLT_MATRIX_LAYOUT_BATCH_COUNT && n == 4) memcpy(&x->batch, p, 4); else if (a == CUBLASLT_MATRIX_LAYOUT_STRIDED_BATCH_OFFSET && n == 8) memcpy(&x->stride, p, 8); else return CUBLAS_STATUS_NOT_SUPPORTED; return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference_t* p) { *p = reinterpret_cast<cublasLtMatmulPreference_t>(new Pref); return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference_t p) { delete reinterpret_cast<Pref*>(p); return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference_t p, cublasLtMatmulPreferenceAttributes_t a, const void* v, size_t n) { if (a == CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES && n == 8) memcpy(&reinterpret_cast<Pref*>(p)->ws, v, 8); return CUBLAS_STATUS_SUCCESS; }
cublasStatus_t cublasLtMatmulAlgoGetHeuristic(cublasLtHandle_t, cublasLtMatmulDesc_t d, cublasLtMatrixLayout_t A, cublasLtMatrixLayout_t B, cublasLtMatrixLayout_t C, cublasLtMatrixLayout_t D, cublasLtMatmulPreference_t p, int req, cublasLtMatmulHeuristicResult_t* r, int* got) {
  auto L = [](cublasLtMatrixLayout_t l) -> Lay& { return *reinterpret_cast<Lay*>(l); }; std::string e = validate(*reinterpret_cast<Desc*>(d), L(A), L(B), L(C), L(D)); *got = 0; if (!e.empty()) { fprintf(stderr, "emu: cublasLt heuristic: %s\n", e.c_str()); return CUBLAS_STATUS_NOT_SUPPORTED; }
  if (req < 1) return CUBLAS_STATUS_INVALID_VALUE;
  memset(r, 0, sizeof *r); r->workspaceSize = std::min<size_t>(reinterpret_cast<Pref*>(p)->ws, 1024); r->state = CUBLAS_STATUS_SUCCESS; *got = 1; return CUBLAS_STATUS_SUCCESS;
}
cublasStatus_t cublasLtMatmul(cublasLtHandle_t, cublasLtMatmulDesc_t dd, const void* alpha, const void* A, cublasLtMatrixLayout_t la, const void* B, cublasLtMatrixLayout_t lb, const void* beta, const void* C, cublasLtMatrixLayout_t lc, void* D, cublasLtMatrixLayout_t ld, const cublasLtMatmulAlgo_t*, void* ws, size_t wsn, cudaStream_t s) {
  Desc d = *reinterpret_cast<Desc*>(dd); auto L = [](cublasLtMatrixLayout_t l) { return *reinterpret_cast<Lay*>(l); }; Lay a = L(la), b = L(lb), c = L(lc), o = L(ld); float al = *static_cast<const float*>(alpha), be = *static_cast<const float*>(beta);   // descriptors are copied: callers may destroy them
  std::string e = validate(d, a, b, c, o); if (!e.empty()) { fprintf(stderr, "emu: cublasLtMatmul: %s\n", e.c_str()); return CUBLAS_STATUS_INVALID_VALUE; }
  auto range = [](const void* p, const Lay& l, const char* w) { check_dev_range(p, ((l.batch - 1) * l.stride + (l.c - 1) * l.ld + l.r) * tsize(l.t), w); if (reinterpret_cast<uintptr_t>(p) % 16) die("cublasLtMatmul %s: pointer not 16-byte aligned", w); };
  range(A, a, "A"); range(B, b, "B"); range(D, o, "D"); if (be != 0) range(C, c, "C");
  if (wsn) check_dev_range(ws, wsn, "workspace");
  if (d.ep != CUBLASLT_EPILOGUE_DEFAULT && d.ep != CUBLASLT_EPILOGUE_BIAS) return CUBLAS_STATUS_NOT_SUPPORTED;
  cudaDataType_t bt = int(d.bias_t) == -1 ? o.t : d.bias_t; if (d.ep == CUBLASLT_EPILOGUE_BIAS) check_dev_range(d.bias, o.r * tsize(bt), "bias");
  emu::enqueue(s, "cublasLtMatmul", [=] {
    if (wsn) memset(ws, 0xff, wsn);   // scribble: catches workspaces shared between concurrent matmuls
    for (int i = 0; i < o.batch; i++) {
      auto fa = pack(A, a, i), fb = pack(B, b, i); int m = int(o.r), n = int(o.c), k = int(d.ta ? a.r : a.c); std::vector<float> fo(size_t(m) * n); if (be != 0) fo = pack(C, c, i);
      dnnl_sgemm(d.tb ? 'T' : 'N', d.ta ? 'T' : 'N', n, m, k, al, fb.data(), int(b.r), fa.data(), int(a.r), be, fo.data(), m);
      for (int j = 0; j < n; j++) for (int r = 0; r < m; r++) put(D, o.t, size_t(i) * o.stride + size_t(j) * o.ld + r, fo[size_t(j) * m + r] + (d.ep == CUBLASLT_EPILOGUE_BIAS ? get(d.bias, bt, r) : 0.f));
    }
    return Step::Done; });
  return CUBLAS_STATUS_SUCCESS;
}
// ---------------------------------------------------------------- nccl over MPI
}
struct ncclComm { MPI_Comm c; int rank, n; uint64_t seq = 0, done = 0; };
namespace {
int depth = 0; std::vector<std::function<void()>> pending;
struct Sig { uint64_t seq; int64_t op, count, dt, rop, root; bool operator==(const Sig& o) const { return !memcmp(this, &o, sizeof o); } };
const char* opname[] = {"AllReduce", "ReduceScatter", "AllGather", "Broadcast"};
std::string show(const Sig& s) { char b[128]; snprintf(b, sizeof b, "#%lu %s(count=%ld,type=%ld,op=%ld,root=%ld)", s.seq, opname[s.op], s.count, s.dt, s.rop, s.root); return b; }
size_t nsize(ncclDataType_t t) { return t == ncclFloat32 || t == ncclInt32 ? 4 : t == ncclBfloat16 || t == ncclFloat16 ? 2 : t == ncclFloat64 || t == ncclInt64 || t == ncclUint64 ? 8 : 1; }
ncclResult_t collective(int op, const void* in, void* out, size_t count, ncclDataType_t t, ncclRedOp_t r, int root, ncclComm_t c, cudaStream_t s) {
  size_t es = nsize(t), nin = op == 1 ? count * c->n : count, nout = op == 2 ? count * c->n : count;
  if (t != ncclFloat32 && t != ncclBfloat16 && op < 2) return ncclInvalidArgument;
  if (r != ncclSum && r != ncclAvg && op < 2) return ncclInvalidArgument;
  check_dev_range(in, nin * es, opname[op]); check_dev_range(out, nout * es, opname[op]);
  struct Run { int phase = 0; MPI_Request rq; std::vector<Sig> sigs; Sig mine; std::vector<float> a, b; double t0 = 0; }; auto st = std::make_shared<Run>();
  st->mine = {c->seq++, op, int64_t(count), t, r, root};
  auto issue = [=] { emu::enqueue(s, (std::string("nccl") + opname[op]).c_str(), [=]() -> Step {
    if (st->phase == 0) { if (c->done != st->mine.seq) return Step::Pending;   // operations on one communicator run in issue order
      st->sigs.resize(c->n); st->t0 = now(); MPI_Iallgather(&st->mine, sizeof(Sig), MPI_BYTE, st->sigs.data(), sizeof(Sig), MPI_BYTE, c->c, &st->rq); st->phase = 1; }
    int done = 0;
    if (st->phase == 1) { MPI_Test(&st->rq, &done, MPI_STATUS_IGNORE);
      if (!done) { if (now() - st->t0 > 5) die("collective %s: some rank never issued it (5 s)", show(st->mine).c_str()); return Step::Pending; }
      for (int i = 0; i < c->n; i++) if (!(st->sigs[i] == st->mine)) die("collective mismatch: rank %d issued %s, rank %d issued %s", c->rank, show(st->mine).c_str(), i, show(st->sigs[i]).c_str());
      if (op < 2) { st->a.resize(nin); st->b.resize(nout); for (size_t i = 0; i < nin; i++) st->a[i] = t == ncclFloat32 ? static_cast<const float*>(in)[i] : __bfloat162float(static_cast<const __nv_bfloat16*>(in)[i]); }
      if (op == 0) MPI_Iallreduce(st->a.data(), st->b.data(), int(count), MPI_FLOAT, MPI_SUM, c->c, &st->rq);
      if (op == 1) MPI_Ireduce_scatter_block(st->a.data(), st->b.data(), int(count), MPI_FLOAT, MPI_SUM, c->c, &st->rq);
      if (op == 2) { bool inpl = in == static_cast<char*>(out) + c->rank * count * es; MPI_Iallgather(inpl ? MPI_IN_PLACE : in, int(count * es), MPI_BYTE, out, int(count * es), MPI_BYTE, c->c, &st->rq); }
      if (op == 3) { if (c->rank == root && in != out) memcpy(out, in, count * es); MPI_Ibcast(out, int(count * es), MPI_BYTE, root, c->c, &st->rq); }
      st->phase = 2; }
    MPI_Test(&st->rq, &done, MPI_STATUS_IGNORE); if (!done) return Step::Pending;
    if (op < 2) for (size_t i = 0; i < nout; i++) { float v = st->b[i] / (r == ncclAvg ? c->n : 1); if (t == ncclFloat32) static_cast<float*>(out)[i] = v; else static_cast<__nv_bfloat16*>(out)[i] = __float2bfloat16(v); }
    c->done++; return Step::Done; }); };
  if (depth) pending.push_back(issue); else issue();
  return ncclSuccess;
}
}
extern "C" {
ncclResult_t ncclGetUniqueId(ncclUniqueId* id) { memset(id, 0, sizeof *id); snprintf(id->internal, sizeof id->internal, "emu%f", now()); return ncclSuccess; }
ncclResult_t ncclCommInitRank(ncclComm_t* c, int n, ncclUniqueId id, int rank) { int wn, wr; MPI_Comm_size(MPI_COMM_WORLD, &wn); MPI_Comm_rank(MPI_COMM_WORLD, &wr); if (n != wn || rank != wr) die("prototype: communicators must span MPI_COMM_WORLD"); S().rank = rank; std::vector<ncclUniqueId> all(n); MPI_Allgather(&id, sizeof id, MPI_BYTE, all.data(), sizeof id, MPI_BYTE, MPI_COMM_WORLD); for (auto& x : all) if (memcmp(&x, &id, sizeof id)) die("ncclUniqueId differs between ranks"); *c = new ncclComm{MPI_COMM_NULL, rank, n}; MPI_Comm_dup(MPI_COMM_WORLD, &(*c)->c); return ncclSuccess; }
ncclResult_t ncclCommDestroy(ncclComm_t c) { cudaDeviceSynchronize(); MPI_Comm_free(&c->c); delete c; return ncclSuccess; }
ncclResult_t ncclGroupStart() { depth++; return ncclSuccess; }
ncclResult_t ncclGroupEnd() { if (depth <= 0) return ncclInvalidUsage; if (--depth == 0) { auto p = std::move(pending); pending.clear(); for (auto& f : p) f(); } return ncclSuccess; }
ncclResult_t ncclAllReduce(const void* i, void* o, size_t n, ncclDataType_t t, ncclRedOp_t r, ncclComm_t c, cudaStream_t s) { return collective(0, i, o, n, t, r, -1, c, s); }
ncclResult_t ncclReduceScatter(const void* i, void* o, size_t n, ncclDataType_t t, ncclRedOp_t r, ncclComm_t c, cudaStream_t s) { return collective(1, i, o, n, t, r, -1, c, s); }
ncclResult_t ncclAllGather(const void* i, void* o, size_t n, ncclDataType_t t, ncclComm_t c, cudaStream_t s) { return collective(2, i, o, n, t, ncclSum, -1, c, s); }
ncclResult_t ncclBroadcast(const void* i, void* o, size_t n, ncclDataType_t t, int root, ncclComm_t c, cudaStream_t s) { return collective(3, i, o, n, t, ncclSum, root, c, s); }
const char* ncclGetErrorString(ncclResult_t r) { return r == ncclSuccess ? "no error" : "emulated nccl error"; }
}
__attribute__((destructor)) static void report() { if (getenv("EMU_STATS")) fprintf(stderr, "emu[rank %d]: %lu ops, longest queue %lu, %lu heap toggles, %zu MiB heap\n", S().rank, S().ops, S().peak_q, S().toggles, S().used >> 20); }
