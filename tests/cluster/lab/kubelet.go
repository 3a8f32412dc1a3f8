// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"sync"
	"syscall"
	"time"

	coordination "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"
	typedcorev1 "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/record"
	"k8s.io/client-go/util/retry"
)

// Annotations by which tests steer Pods, read from the Pod, else from its Node, else from the first Node.
const (
	faultAnnotation    = "lab.alauda.io/fault"       // never-ready, crash-loop, slow, no-storage-network, login
	readyAnnotation    = "lab.alauda.io/ready-after" // duration from the container's start to its readiness
	goneAnnotation     = "lab.alauda.io/gone-after"  // duration from the Pod's deletion to its end
	runAnnotation      = "lab.alauda.io/run-for"     // duration of a container that ends by itself (Jobs)
	exitCodeAnnotation = "lab.alauda.io/exit-code"   // of a container that ends by itself
	logAnnotation      = "lab.alauda.io/log"         // what a simulated container logs
)

// kubelet simulates the nodes of the cluster: the lifecycles of their Pods, some of which run real registry processes,
// and everything about a node that the API server or a client can see.
type kubelet struct {
	dir      string
	client   kubernetes.Interface
	factory  informers.SharedInformerFactory
	recorder record.EventRecorder
	port     int // of the HTTPS endpoint from which the API server reads logs

	registryAddress string // host:port that leads to a ready registry

	mutex   sync.Mutex // guards workers and lastIP
	workers map[types.UID]*worker
	lastIP  int
}

func runKubelet() {
	flags := flag.NewFlagSet("kubelet", flag.ExitOnError)
	dir := flags.String("dir", "", "data folder of the cluster")
	kubeconfig := flags.String("kubeconfig", "", "kubeconfig for the API server")
	_ = flags.Parse(os.Args[1:])
	if err := startKubelet(*dir, *kubeconfig); err != nil {
		fmt.Fprintln(os.Stderr, "kubelet:", err)
		os.Exit(1)
	}
}

func startKubelet(dir, kubeconfig string) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 200, 400
	config.UserAgent = "lab-kubelet"
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	ctx, cancel := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer cancel()
	broadcaster := record.NewBroadcaster()
	broadcaster.StartRecordingToSink(&typedcorev1.EventSinkImpl{Interface: client.CoreV1().Events("")})
	k := &kubelet{
		dir: dir, client: client, factory: informers.NewSharedInformerFactory(client, 0), workers: map[types.UID]*worker{}, lastIP: firstPodIP - 1,
		recorder: broadcaster.NewRecorder(scheme.Scheme, corev1.EventSource{Component: "kubelet", Host: nodeName}),
	}
	if err := k.serveEndpoint(ctx); err != nil {
		return err
	}
	if err := k.serveConnect(ctx); err != nil {
		return err
	}
	if err := k.serveRegistry(ctx); err != nil {
		return err
	}
	for index, name := range nodeNames {
		if err := k.register(ctx, name, nodeAddress(index)); err != nil {
			return fmt.Errorf("node %s cannot be registered: %w", name, err)
		}
		go k.heartbeat(ctx, name, nodeAddress(index))
	}
	pods := k.factory.Core().V1().Pods().Informer()
	_, err = pods.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    func(object any) { k.observePod(ctx, object.(*corev1.Pod)) },
		UpdateFunc: func(_, object any) { k.observePod(ctx, object.(*corev1.Pod)) },
		DeleteFunc: func(object any) {
			if tombstone, ok := object.(cache.DeletedFinalStateUnknown); ok {
				object = tombstone.Obj
			}
			if pod, ok := object.(*corev1.Pod); ok {
				k.forgetPod(pod)
			}
		},
	})
	if err != nil {
		return err
	}
	k.factory.Core().V1().Nodes().Informer()
	k.factory.Core().V1().Services().Informer()
	k.factory.Discovery().V1().EndpointSlices().Informer()
	if err := k.startProvisioner(ctx); err != nil {
		return err
	}
	k.factory.Start(ctx.Done())
	k.factory.WaitForCacheSync(ctx.Done())
	if err := k.writeReady(); err != nil {
		return err
	}
	<-ctx.Done()
	k.mutex.Lock()
	defer k.mutex.Unlock()
	for _, w := range k.workers {
		w.killAll()
	}
	return nil
}

func logf(format string, arguments ...any) {
	fmt.Fprintf(os.Stderr, time.Now().UTC().Format("2006-01-02T15:04:05.000Z ")+format+"\n", arguments...)
}

// writeReady reports to the supervisor that the kubelet serves, and where. The file appears complete or not at all.
func (k *kubelet) writeReady() error {
	content, err := json.Marshal(map[string]any{"port": k.port, "registry_address": k.registryAddress})
	if err != nil {
		return err
	}
	path := filepath.Join(k.dir, "ready", "kubelet.json")
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (k *kubelet) nodeStatus(name, address string) corev1.NodeStatus {
	capacity := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("64"), corev1.ResourceMemory: resource.MustParse("256Gi"),
		corev1.ResourcePods: resource.MustParse("110"), corev1.ResourceEphemeralStorage: resource.MustParse("1Ti"),
	}
	now := metav1.Now()
	condition := func(kind corev1.NodeConditionType, status corev1.ConditionStatus, reason, message string) corev1.NodeCondition {
		return corev1.NodeCondition{Type: kind, Status: status, Reason: reason, Message: message, LastHeartbeatTime: now, LastTransitionTime: now}
	}
	return corev1.NodeStatus{
		Capacity: capacity, Allocatable: capacity, Phase: corev1.NodeRunning,
		Addresses:       []corev1.NodeAddress{{Type: corev1.NodeInternalIP, Address: address}, {Type: corev1.NodeHostName, Address: name}},
		DaemonEndpoints: corev1.NodeDaemonEndpoints{KubeletEndpoint: corev1.DaemonEndpoint{Port: int32(k.port)}},
		NodeInfo: corev1.NodeSystemInfo{KubeletVersion: version, OperatingSystem: "linux", Architecture: runtime.GOARCH,
			ContainerRuntimeVersion: "lab://1", OSImage: "lab", KernelVersion: "lab"},
		Conditions: []corev1.NodeCondition{
			condition(corev1.NodeReady, corev1.ConditionTrue, "KubeletReady", "kubelet is posting ready status"),
			condition(corev1.NodeMemoryPressure, corev1.ConditionFalse, "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
			condition(corev1.NodeDiskPressure, corev1.ConditionFalse, "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
			condition(corev1.NodePIDPressure, corev1.ConditionFalse, "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
		},
	}
}

// register creates a node, or adopts the existing one after a restart, whose annotations it keeps.
func (k *kubelet) register(ctx context.Context, name, address string) error {
	nodes := k.client.CoreV1().Nodes()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{
		"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "kubernetes.io/arch": runtime.GOARCH,
		"node-role.kubernetes.io/worker": "",
	}}}
	if _, err := nodes.Create(ctx, node, metav1.CreateOptions{}); err != nil && !apierrors.IsAlreadyExists(err) {
		return err
	}
	// The controller-manager writes taints and addresses into a new node at the same time.
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		live, err := nodes.Get(ctx, name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		live.Status = k.nodeStatus(name, address)
		_, err = nodes.UpdateStatus(ctx, live, metav1.UpdateOptions{})
		return err
	})
}

// heartbeat renews a node's Lease, by which the node lifecycle controller knows that the node is alive, and reports its
// status again when that controller has given the node up meanwhile (while the API server was down, for instance).
func (k *kubelet) heartbeat(ctx context.Context, name, address string) {
	leases := k.client.CoordinationV1().Leases(corev1.NamespaceNodeLease)
	seconds := int32(20)
	for {
		now := metav1.NewMicroTime(time.Now())
		lease, err := leases.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			_, err = leases.Create(ctx, &coordination.Lease{ObjectMeta: metav1.ObjectMeta{Name: name},
				Spec: coordination.LeaseSpec{HolderIdentity: &name, LeaseDurationSeconds: &seconds, RenewTime: &now}}, metav1.CreateOptions{})
		} else if err == nil {
			lease.Spec.RenewTime = &now
			_, err = leases.Update(ctx, lease, metav1.UpdateOptions{})
		}
		if node, missing := k.factory.Core().V1().Nodes().Lister().Get(name); err == nil && missing == nil && !isReady(node) {
			err = k.register(ctx, name, address)
		}
		pause := 5 * time.Second
		if err != nil && ctx.Err() == nil {
			logf("heartbeat of %s failed: %v", name, err)
			pause = 200 * time.Millisecond
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}

func isReady(node *corev1.Node) bool {
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady {
			return condition.Status == corev1.ConditionTrue
		}
	}
	return false
}

// setting returns an annotation of the Pod, else of its Node, else of the first Node.
func (k *kubelet) setting(pod *corev1.Pod, key string) string {
	if value, ok := pod.Annotations[key]; ok {
		return value
	}
	for _, name := range []string{pod.Spec.NodeName, nodeName} {
		if node, err := k.factory.Core().V1().Nodes().Lister().Get(name); err == nil {
			if value, ok := node.Annotations[key]; ok {
				return value
			}
		}
	}
	return ""
}

// observePod passes a Pod's newest state to its worker, which it creates for a Pod newly scheduled to one of our nodes.
func (k *kubelet) observePod(ctx context.Context, pod *corev1.Pod) {
	if pod.Spec.NodeName == "" {
		return
	}
	k.mutex.Lock()
	defer k.mutex.Unlock()
	w := k.workers[pod.UID]
	if w == nil {
		if (pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed) && pod.DeletionTimestamp == nil {
			return
		}
		w = newWorker(k, pod, k.freeIP())
		k.workers[pod.UID] = w
		go w.run(ctx)
	}
	w.update(pod)
}

func (k *kubelet) forgetPod(pod *corev1.Pod) {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	if w := k.workers[pod.UID]; w != nil {
		delete(k.workers, pod.UID)
		w.markGone()
	}
}

const firstPodIP, lastPodIP = 10, 254

// freeIP hands out addresses in rotation, so that none is reused soon after its Pod is gone. Call with the mutex held.
func (k *kubelet) freeIP() string {
	used := map[string]bool{}
	for _, w := range k.workers {
		used[w.ip] = true
	}
	for range lastPodIP - firstPodIP + 1 {
		k.lastIP++
		if k.lastIP > lastPodIP {
			k.lastIP = firstPodIP
		}
		if ip := fmt.Sprintf("192.0.2.%d", k.lastIP); !used[ip] {
			return ip
		}
	}
	return "" // more Pods than addresses: this one is unreachable
}

func (k *kubelet) workerAt(ip string) *worker {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	for _, w := range k.workers {
		if w.ip == ip {
			return w
		}
	}
	return nil
}

func (k *kubelet) workerOf(namespace, name string) *worker {
	k.mutex.Lock()
	defer k.mutex.Unlock()
	for _, w := range k.workers {
		if w.namespace == namespace && w.name == name {
			return w
		}
	}
	return nil
}
