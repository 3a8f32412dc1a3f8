// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

const (
	namespace = "image-registry-system"
	nodeName  = "lab-node"
	// Addresses that are not routed (RFC 5737): the API server reaches them only through the kubelet's CONNECT socket.
	nodeIP       = "192.0.2.1"
	serviceCIDR  = "198.51.100.0/24"
	socketLimit  = 100 // bytes; the system's limit for a Unix socket path is 104 to 108
	startSeconds = 90
)

// supervisorConfig is the first line on the supervisor's standard input.
type supervisorConfig struct {
	Name   string            `json:"name"`
	Dir    string            `json:"dir"`    // removed and created anew
	Apply  []string          `json:"apply"`  // YAML files
	Extras []extraProcess    `json:"extras"` // programs besides the control plane
	Labels map[string]string `json:"labels"` // shown by status, not used
	// KubeAPIQPS limits the controller-manager's requests a second.
	KubeAPIQPS int `json:"kube_api_qps"`
}

// extraProcess is a program that lives and dies with the cluster, such as the operator or the S3 server.
type extraProcess struct {
	Name string            `json:"name"`
	Argv []string          `json:"argv"`
	Env  map[string]string `json:"env"`
	Cwd  string            `json:"cwd"`
	// Ready names a JSON file (in the ready folder) that the program writes when it serves; without one, it counts as
	// ready when it runs.
	Ready string `json:"ready"`
	// Early programs start before the API server answers.
	Early bool `json:"early"`
	// Lazy programs start on request.
	Lazy bool `json:"lazy"`
}

// event is one line on the supervisor's standard output while it starts.
type event struct {
	Step    string         `json:"step"`
	State   string         `json:"state"` // starting, ready, failed; "up" for the last
	Seconds float64        `json:"seconds"`
	Message string         `json:"message,omitempty"`
	Status  map[string]any `json:"status,omitempty"`
}

type supervisor struct {
	config     supervisorConfig
	startTime  time.Time
	pki        *pki
	ports      map[string]int
	sockets    map[string]int // each reserves a port between two runs of its program
	output     *json.Encoder
	stopping   chan struct{}
	stopOnce   sync.Once
	mutex      sync.Mutex // guards processes and ready
	processes  map[string]*process
	order      []string
	kubeconfig string
}

func runSupervisor() {
	s := &supervisor{
		startTime: time.Now(), ports: map[string]int{}, sockets: map[string]int{}, output: json.NewEncoder(os.Stdout),
		stopping: make(chan struct{}), processes: map[string]*process{},
	}
	input := bufio.NewReader(os.Stdin)
	line, err := input.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &s.config)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "supervise: the first line of standard input must be the configuration as JSON:", err)
		os.Exit(2)
	}
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
	signal.Ignore(syscall.SIGPIPE)
	go func() { <-signals; s.stop() }()
	go func() { // end with the launcher, unless it detached us
		for {
			line, err := input.ReadString('\n')
			if strings.TrimSpace(line) == "detach" {
				return
			}
			if err != nil {
				s.stop()
				return
			}
		}
	}()
	code := s.run()
	os.Exit(code)
}

func (s *supervisor) stop() { s.stopOnce.Do(func() { close(s.stopping) }) }

func (s *supervisor) emit(step, state, message string) {
	_ = s.output.Encode(event{Step: step, State: state, Seconds: time.Since(s.startTime).Seconds(), Message: message})
}

func (s *supervisor) path(parts ...string) string {
	return filepath.Join(append([]string{s.config.Dir}, parts...)...)
}

func (s *supervisor) run() int {
	lock, err := os.OpenFile(s.config.Dir+".lock", os.O_RDWR|os.O_CREATE, 0o600)
	if err == nil {
		if err = unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
			err = fmt.Errorf("a cluster named %q is running or starting", s.config.Name)
		}
	}
	if err != nil {
		s.emit("lock", "failed", err.Error())
		return 1
	}
	s.emit("lock", "ready", "")
	adoptOrphans()
	ctx, cancel := context.WithCancel(context.Background())
	go func() { <-s.stopping; cancel() }()
	err = s.bringUp(ctx)
	if err == nil {
		<-s.stopping
	}
	s.tearDown()
	if err != nil && !s.wasStopped() {
		return 1 // the data folder stays: its logs say why
	}
	_ = os.RemoveAll(s.config.Dir)
	_ = os.Remove(lock.Name())
	return 0
}

func (s *supervisor) wasStopped() bool {
	select {
	case <-s.stopping:
		return true
	default:
		return false
	}
}

func (s *supervisor) tearDown() {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	for i := len(s.order) - 1; i >= 0; i-- {
		if p := s.processes[s.order[i]]; p.alive() {
			_ = p.command.Process.Kill() // nothing is worth saving: the data is removed too
		}
	}
	reapAll(10 * time.Second)
}

// step runs work and reports it; a failure carries the step's name.
func (s *supervisor) step(ctx context.Context, name string, work func(context.Context) error) error {
	if s.wasStopped() {
		return errors.New("stopped")
	}
	s.emit(name, "starting", "")
	limited, cancel := context.WithTimeout(ctx, startSeconds*time.Second)
	defer cancel()
	if err := work(limited); err != nil {
		s.emit(name, "failed", err.Error())
		return err
	}
	s.emit(name, "ready", "")
	return nil
}

func (s *supervisor) bringUp(ctx context.Context) error {
	var clients *rest.Config
	if err := s.step(ctx, "folder", s.prepare); err != nil {
		return err
	}
	// Nobody reads our standard error once we are detached.
	if crash, err := os.Create(s.logPath("supervisor")); err == nil {
		_ = debug.SetCrashOutput(crash, debug.CrashOptions{})
	}
	for _, extra := range s.config.Extras {
		if extra.Early && !extra.Lazy {
			if err := s.startExtra(extra); err != nil {
				s.emit(extra.Name, "failed", err.Error())
				return err
			}
		}
	}
	if err := s.step(ctx, "etcd", func(ctx context.Context) error {
		if err := s.launch("etcd"); err != nil {
			return err
		}
		return s.awaitHTTP(ctx, "etcd", &http.Client{}, fmt.Sprintf("http://127.0.0.1:%d/health", s.ports["etcd"]))
	}); err != nil {
		return err
	}
	if err := s.step(ctx, "kube-apiserver", func(ctx context.Context) error {
		if err := s.launch("kube-apiserver"); err != nil {
			return err
		}
		var err error
		if clients, err = clientcmd.BuildConfigFromFlags("", s.kubeconfig); err != nil {
			return err
		}
		clients.QPS, clients.Burst = 200, 400
		client, err := rest.HTTPClientFor(clients)
		if err != nil {
			return err
		}
		return s.awaitHTTP(ctx, "kube-apiserver", client, clients.Host+"/readyz")
	}); err != nil {
		return err
	}
	if err := s.step(ctx, "controllers", func(ctx context.Context) error {
		for _, name := range []string{"kube-controller-manager", "kube-scheduler", "kubelet"} {
			if err := s.launch(name); err != nil {
				return err
			}
		}
		if err := applyManifests(ctx, clients, s.config.Apply); err != nil {
			return err
		}
		return s.awaitControllers(ctx, clients)
	}); err != nil {
		return err
	}
	for _, extra := range s.config.Extras {
		if extra.Lazy {
			continue
		}
		if err := s.step(ctx, extra.Name, func(ctx context.Context) error {
			if !extra.Early {
				if err := s.startExtra(extra); err != nil {
					return err
				}
			}
			return s.awaitReadyFile(ctx, extra.Name, extra.Ready)
		}); err != nil {
			return err
		}
	}
	if err := s.serveControl(ctx, clients); err != nil {
		s.emit("control", "failed", err.Error())
		return err
	}
	status := s.status()
	content, err := json.MarshalIndent(status, "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(s.path("state.json"), content, 0o600); err != nil {
		return err
	}
	return s.output.Encode(event{Step: "cluster", State: "up", Seconds: time.Since(s.startTime).Seconds(), Status: status})
}

func (s *supervisor) prepare(context.Context) error {
	if err := os.RemoveAll(s.config.Dir); err != nil {
		return err
	}
	for _, folder := range []string{"logs", "ready", "etcd", "volumes", "pods", "s"} {
		if err := os.MkdirAll(s.path(folder), 0o700); err != nil {
			return err
		}
	}
	if longest := s.path("s", "0123456789abcdef.sock"); len(longest) > socketLimit {
		return fmt.Errorf("%s is longer than %d bytes, too long for a Unix socket: choose a shorter data folder", longest, socketLimit)
	}
	// A bound socket that never listens reserves each port; the programs share it (SO_REUSEPORT). So no other program
	// can take a port between our choice and its use, nor while the API server restarts.
	for _, name := range []string{"etcd", "etcd-peer", "kube-apiserver"} {
		socket, port, err := reservePort()
		if err != nil {
			return fmt.Errorf("no free port on 127.0.0.1 for %s: %w", name, err)
		}
		s.sockets[name], s.ports[name] = socket, port
	}
	var err error
	if s.pki, err = newPKI(s.path("pki")); err != nil {
		return err
	}
	server := fmt.Sprintf("https://127.0.0.1:%d", s.ports["kube-apiserver"])
	s.kubeconfig = s.path("kubeconfig")
	for name, user := range map[string]string{
		"kubeconfig": "lab-admin", "controller-manager.kubeconfig": "lab-controller-manager",
		"scheduler.kubeconfig": "lab-scheduler", "kubelet.kubeconfig": "lab-kubelet", "operator.kubeconfig": "lab-operator",
	} {
		if err := s.pki.writeKubeconfig(s.path(name), server, user, "system:masters"); err != nil {
			return err
		}
	}
	files := map[string]string{
		"egress.yaml": `apiVersion: apiserver.k8s.io/v1beta1
kind: EgressSelectorConfiguration
egressSelections:
- name: cluster
  connection:
    proxyProtocol: HTTPConnect
    transport: {uds: {udsName: ` + strconv.Quote(s.path("s", "kubelet.sock")) + `}}
`,
		// Unschedulable Pods are retried soon: a test should not wait out a back-off made for big clusters.
		"scheduler.yaml": `apiVersion: kubescheduler.config.k8s.io/v1
kind: KubeSchedulerConfiguration
clientConnection: {kubeconfig: ` + strconv.Quote(s.path("scheduler.kubeconfig")) + `, qps: 200, burst: 400}
leaderElection: {leaderElect: false}
podInitialBackoffSeconds: 1
podMaxBackoffSeconds: 2
`,
	}
	for name, content := range files {
		if err := os.WriteFile(s.path(name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	return nil
}

func reservePort() (int, int, error) {
	socket, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return 0, 0, err
	}
	unix.CloseOnExec(socket)
	if err := unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1); err != nil {
		return 0, 0, err
	}
	if err := unix.Bind(socket, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return 0, 0, err
	}
	address, err := unix.Getsockname(socket)
	if err != nil {
		return 0, 0, err
	}
	return socket, address.(*unix.SockaddrInet4).Port, nil
}

// arguments returns the command line of a program of the control plane.
func (s *supervisor) arguments(name string) []string {
	pkiFile := func(name string) string { return s.pki.path(name) }
	etcd := fmt.Sprintf("http://127.0.0.1:%d", s.ports["etcd"])
	peer := fmt.Sprintf("http://127.0.0.1:%d", s.ports["etcd-peer"])
	switch name {
	case "etcd":
		return []string{"--name=lab", "--data-dir=" + s.path("etcd"), "--listen-client-urls=" + etcd, "--advertise-client-urls=" + etcd,
			"--listen-peer-urls=" + peer, "--initial-advertise-peer-urls=" + peer, "--initial-cluster=lab=" + peer,
			"--unsafe-no-fsync", "--socket-reuse-port", "--log-level=warn", "--heartbeat-interval=50", "--election-timeout=500",
			"--quota-backend-bytes=1073741824", "--snapshot-count=5000"}
	case "kube-apiserver":
		return []string{"--etcd-servers=" + etcd, "--bind-address=127.0.0.1", fmt.Sprintf("--secure-port=%d", s.ports["kube-apiserver"]),
			"--permit-port-sharing", "--advertise-address=" + nodeIP, "--endpoint-reconciler-type=none", "--cert-dir=" + s.path("pki"),
			"--tls-cert-file=" + pkiFile("apiserver.crt"), "--tls-private-key-file=" + pkiFile("apiserver.key"),
			"--client-ca-file=" + pkiFile("ca.crt"), "--authorization-mode=Node,RBAC",
			"--requestheader-client-ca-file=" + pkiFile("front-proxy-ca.crt"), "--requestheader-allowed-names=front-proxy-client",
			"--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--proxy-client-cert-file=" + pkiFile("front-proxy.crt"), "--proxy-client-key-file=" + pkiFile("front-proxy.key"),
			"--service-account-issuer=https://kubernetes.default.svc", "--service-account-key-file=" + pkiFile("sa.key"),
			"--service-account-signing-key-file=" + pkiFile("sa.key"), "--service-cluster-ip-range=" + serviceCIDR,
			"--kubelet-certificate-authority=" + pkiFile("ca.crt"), "--kubelet-client-certificate=" + pkiFile("kubelet-client.crt"),
			"--kubelet-client-key=" + pkiFile("kubelet-client.key"), "--kubelet-preferred-address-types=InternalIP",
			"--egress-selector-config-file=" + s.path("egress.yaml"), "--allow-privileged", "--profiling=false",
			"--shutdown-delay-duration=0s", "--enable-aggregator-routing=false"}
	case "kube-controller-manager":
		return []string{"--kubeconfig=" + s.path("controller-manager.kubeconfig"), "--leader-elect=false", "--secure-port=0",
			"--service-account-private-key-file=" + pkiFile("sa.key"), "--root-ca-file=" + pkiFile("ca.crt"),
			fmt.Sprintf("--kube-api-qps=%d", s.config.KubeAPIQPS), fmt.Sprintf("--kube-api-burst=%d", s.config.KubeAPIQPS*3/2),
			"--pvclaimbinder-sync-period=2s", "--resource-quota-sync-period=10s",
			"--node-monitor-period=1s", "--node-monitor-grace-period=20s", "--node-startup-grace-period=20s",
			"--concurrent-gc-syncs=4", "--profiling=false", "--enable-dynamic-provisioning",
			// Machines, clouds, certificates and autoscaling play no part here.
			"--controllers=*,-node-ipam-controller,-persistentvolume-attach-detach-controller,-horizontal-pod-autoscaler-controller," +
				"-certificatesigningrequest-signing-controller,-certificatesigningrequest-approving-controller," +
				"-certificatesigningrequest-cleaner-controller,-ttl-controller,-ephemeral-volume-controller"}
	case "kube-scheduler":
		return []string{"--config=" + s.path("scheduler.yaml"), "--secure-port=0"}
	case "kubelet":
		return []string{"--dir=" + s.config.Dir, "--kubeconfig=" + s.path("kubelet.kubeconfig")}
	}
	return nil
}

// launch starts one of this binary's programs.
func (s *supervisor) launch(name string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	return s.begin(name, append([]string{self, name}, s.arguments(name)...), cleanEnvironment(), s.config.Dir)
}

func (s *supervisor) startExtra(extra extraProcess) error {
	environment := cleanEnvironment()
	for name, value := range extra.Env {
		environment = append(environment, name+"="+value)
	}
	return s.begin(extra.Name, extra.Argv, environment, extra.Cwd)
}

func (s *supervisor) begin(name string, argv, environment []string, dir string) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	log, err := os.OpenFile(s.logPath(name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	started := &process{name: name, argv: argv, env: environment, dir: dir, output: log}
	if err := started.start(); err != nil {
		return fmt.Errorf("%s cannot be started: %w", name, err)
	}
	if s.processes[name] == nil {
		s.order = append(s.order, name)
	}
	s.processes[name] = started
	return nil
}

func (s *supervisor) process(name string) *process {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.processes[name]
}

func (s *supervisor) logPath(name string) string { return s.path("logs", name+".log") }

// failure explains why a program does not serve, with the end of its log.
func (s *supervisor) failure(name, what string) error {
	message := fmt.Sprintf("%s %s", name, what)
	if p := s.process(name); p != nil && !p.alive() {
		message = fmt.Sprintf("%s ended with code %d before it was ready", name, exitCode(p.exit))
	}
	return fmt.Errorf("%s\n%s\nits log: %s", message, lastLines(s.logPath(name), 5), s.logPath(name))
}

func lastLines(path string, count int) string {
	content, err := os.ReadFile(path)
	if err != nil {
		return "(no log)"
	}
	lines := strings.Split(strings.TrimRight(string(content), "\n"), "\n")
	if len(lines) > count {
		lines = lines[len(lines)-count:]
	}
	return "  " + strings.Join(lines, "\n  ")
}

func (s *supervisor) awaitHTTP(ctx context.Context, name string, client *http.Client, url string) error {
	last := "did not answer"
	for {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		response, err := client.Do(request)
		if err == nil {
			body, _ := io.ReadAll(io.LimitReader(response.Body, 4096))
			response.Body.Close()
			if response.StatusCode == http.StatusOK {
				return nil
			}
			last = fmt.Sprintf("is not ready: HTTP %d %s", response.StatusCode, strings.TrimSpace(string(body)))
		}
		if !s.process(name).alive() {
			return s.failure(name, last)
		}
		select {
		case <-ctx.Done():
			return s.failure(name, last)
		case <-time.After(25 * time.Millisecond):
		}
	}
}

func (s *supervisor) readyFile(file string) (map[string]any, error) {
	content, err := os.ReadFile(s.path("ready", file))
	if err != nil {
		return nil, err
	}
	value := map[string]any{}
	return value, json.Unmarshal(content, &value)
}

func (s *supervisor) awaitReadyFile(ctx context.Context, name, file string) error {
	for {
		if file == "" {
			if s.process(name).alive() {
				return nil
			}
		} else if _, err := s.readyFile(file); err == nil {
			return nil
		}
		if !s.process(name).alive() {
			return s.failure(name, "")
		}
		select {
		case <-ctx.Done():
			return s.failure(name, "did not become ready")
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// awaitControllers waits for what every later object needs: a service account, a ready node.
func (s *supervisor) awaitControllers(ctx context.Context, config *rest.Config) error {
	if err := s.awaitReadyFile(ctx, "kubelet", "kubelet.json"); err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	missing := ""
	for {
		missing = ""
		if _, err := client.CoreV1().ServiceAccounts(namespace).Get(ctx, "default", metav1.GetOptions{}); err != nil {
			missing = "service account " + namespace + "/default: " + err.Error()
		} else if node, err := client.CoreV1().Nodes().Get(ctx, nodeName, metav1.GetOptions{}); err != nil {
			missing = "node " + nodeName + ": " + err.Error()
		} else if len(node.Spec.Taints) > 0 {
			missing = "node " + nodeName + " still carries the taint " + node.Spec.Taints[0].Key
		}
		if missing == "" {
			return nil
		}
		for _, name := range []string{"kube-controller-manager", "kube-scheduler", "kubelet"} {
			if !s.process(name).alive() {
				return s.failure(name, "")
			}
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%s\n%s\nits log: %s", missing, lastLines(s.logPath("kube-controller-manager"), 5), s.logPath("kube-controller-manager"))
		case <-time.After(25 * time.Millisecond):
		}
	}
}

// status returns what `status` prints and the launcher's properties read.
func (s *supervisor) status() map[string]any {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	processes := []map[string]any{}
	total := residentBytes(os.Getpid())
	add := func(name string, pid int, state, log string) {
		resident := residentBytes(pid)
		total += resident
		processes = append(processes, map[string]any{"name": name, "pid": pid, "state": state, "resident_bytes": resident, "log": log})
	}
	for _, name := range s.order {
		p := s.processes[name]
		state := "running"
		if !p.alive() {
			state = fmt.Sprintf("ended with code %d", exitCode(p.exit))
		}
		add(name, p.command.Process.Pid, state, s.logPath(name))
		if name == "kubelet" && p.alive() {
			for _, child := range childrenOf(p.command.Process.Pid) {
				add("registry", child, "running", s.path("pods"))
			}
		}
	}
	ready := map[string]any{}
	entries, _ := os.ReadDir(s.path("ready"))
	for _, entry := range entries {
		if value, err := s.readyFile(entry.Name()); err == nil {
			ready[strings.TrimSuffix(entry.Name(), ".json")] = value
		}
	}
	return map[string]any{
		"name": s.config.Name, "dir": s.config.Dir, "pid": os.Getpid(), "labels": s.config.Labels,
		"kubeconfig": s.kubeconfig, "api": fmt.Sprintf("https://127.0.0.1:%d", s.ports["kube-apiserver"]),
		"started": s.startTime.UTC().Format(time.RFC3339), "processes": processes, "ready": ready,
		"resident_bytes": total,
	}
}

// serveControl answers the launcher on a socket in the data folder: whoever can open it owns the cluster anyway.
func (s *supervisor) serveControl(ctx context.Context, config *rest.Config) error {
	listener, err := net.Listen("unix", s.path("s", "control.sock"))
	if err != nil {
		return err
	}
	mux := http.NewServeMux()
	reply := func(writer http.ResponseWriter, value any, err error) {
		writer.Header().Set("Content-Type", "application/json")
		if err != nil {
			writer.WriteHeader(http.StatusInternalServerError)
			value = map[string]string{"error": err.Error()}
		}
		_ = json.NewEncoder(writer).Encode(value)
	}
	mux.HandleFunc("GET /status", func(writer http.ResponseWriter, _ *http.Request) { reply(writer, s.status(), nil) })
	mux.HandleFunc("POST /stop", func(writer http.ResponseWriter, _ *http.Request) {
		reply(writer, map[string]string{}, nil)
		s.stop()
	})
	mux.HandleFunc("POST /kubeconfig", func(writer http.ResponseWriter, request *http.Request) {
		query := request.URL.Query()
		content, err := s.pki.kubeconfig(config.Host, query.Get("user"), query["group"])
		reply(writer, map[string]string{"kubeconfig": string(content)}, err)
	})
	mux.HandleFunc("POST /kill", func(writer http.ResponseWriter, request *http.Request) {
		err := s.kill(request.URL.Query().Get("process"))
		reply(writer, map[string]string{}, err)
	})
	mux.HandleFunc("POST /start", func(writer http.ResponseWriter, request *http.Request) {
		err := s.startAgain(request.Context(), config, request.URL.Query().Get("process"))
		reply(writer, s.status(), err)
	})
	go func() { _ = http.Serve(listener, mux) }()
	return nil
}

func (s *supervisor) kill(name string) error {
	p := s.process(name)
	if p == nil {
		return fmt.Errorf("no process %q", name)
	}
	p.stop(0)
	return nil
}

// startAgain starts a killed or a lazy program and waits until it serves. A running one is left alone.
func (s *supervisor) startAgain(ctx context.Context, config *rest.Config, name string) error {
	if p := s.process(name); p != nil && p.alive() {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, startSeconds*time.Second)
	defer cancel()
	for _, extra := range s.config.Extras {
		if extra.Name == name {
			if extra.Ready != "" {
				_ = os.Remove(s.path("ready", extra.Ready))
			}
			if err := s.startExtra(extra); err != nil {
				return err
			}
			return s.awaitReadyFile(ctx, name, extra.Ready)
		}
	}
	if s.arguments(name) == nil {
		return fmt.Errorf("no process %q", name)
	}
	if name == "kubelet" {
		_ = os.Remove(s.path("ready", "kubelet.json"))
	}
	if err := s.launch(name); err != nil {
		return err
	}
	switch name {
	case "kubelet":
		return s.awaitReadyFile(ctx, name, "kubelet.json")
	case "kube-apiserver":
		client, err := rest.HTTPClientFor(config)
		if err != nil {
			return err
		}
		return s.awaitHTTP(ctx, name, client, config.Host+"/readyz")
	}
	return nil
}
