// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
)

const (
	registryService = "image-registry"
	// How long a connection waits for a ready Pod: less than clients wait for a TLS handshake.
	readyPodPatience = 5 * time.Second
)

// The first node carries the annotations that apply to all. Three, because replicas may have to run on different nodes.
var nodeNames = []string{nodeName, nodeName + "-2", nodeName + "-3"}

func nodeAddress(index int) string { return fmt.Sprintf("192.0.2.%d", index+1) }

// serveConnect takes every connection of the API server to a node, Pod or Service (by its egress selector): an HTTP
// CONNECT to an address that exists only here.
func (k *kubelet) serveConnect(ctx context.Context) error {
	path := filepath.Join(k.dir, "s", "kubelet.sock")
	_ = os.Remove(path)
	return k.accept(ctx, "unix", path, func(connection net.Conn) {
		reader := bufio.NewReader(connection)
		request, err := http.ReadRequest(reader)
		if err != nil {
			return
		}
		target, err := k.dial(request.Host)
		if err != nil {
			fmt.Fprintf(connection, "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nX-Reason: %s\r\n\r\n", strings.ReplaceAll(err.Error(), "\n", " "))
			return
		}
		defer target.Close()
		if _, err := io.WriteString(connection, "HTTP/1.1 200 Connection established\r\n\r\n"); err == nil {
			pump(connection, reader, target)
		}
	})
}

// serveRegistry connects a loopback port to a ready Pod of the registry's Service, also during rollouts.
func (k *kubelet) serveRegistry(ctx context.Context) error {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	k.registryAddress = listener.Addr().String()
	return k.acceptFrom(ctx, listener, func(connection net.Conn) {
		deadline := time.Now().Add(readyPodPatience)
		for {
			if target, err := k.dialService(namespace, registryService, 5000); err == nil {
				defer target.Close()
				pump(connection, connection, target)
				return
			}
			if time.Now().After(deadline) {
				return
			}
			time.Sleep(50 * time.Millisecond)
		}
	})
}

func (k *kubelet) accept(ctx context.Context, network, address string, serve func(net.Conn)) error {
	listener, err := net.Listen(network, address)
	if err != nil {
		return err
	}
	return k.acceptFrom(ctx, listener, serve)
}

func (k *kubelet) acceptFrom(ctx context.Context, listener net.Listener, serve func(net.Conn)) error {
	go func() { <-ctx.Done(); listener.Close() }()
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go func() {
				defer connection.Close()
				serve(connection)
			}()
		}
	}()
	return nil
}

// pump copies bytes both ways until either side is done.
func pump(client net.Conn, fromClient io.Reader, target net.Conn) {
	finished := make(chan struct{}, 2)
	copyAll := func(to net.Conn, from io.Reader) {
		_, _ = io.Copy(to, from)
		if half, ok := to.(interface{ CloseWrite() error }); ok {
			_ = half.CloseWrite()
		}
		finished <- struct{}{}
	}
	go copyAll(target, fromClient)
	go copyAll(client, target)
	<-finished
	select { // the other direction may still carry an answer
	case <-finished:
	case <-time.After(5 * time.Second):
	}
}

// dial connects to an address of the simulated network.
func (k *kubelet) dial(address string) (net.Conn, error) {
	host, portText, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.Atoi(portText)
	if err != nil {
		return nil, err
	}
	for index := range nodeNames {
		if host == nodeAddress(index) && port == k.port {
			return net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", k.port))
		}
	}
	if w := k.workerAt(host); w != nil {
		return w.dial(port)
	}
	services, err := k.factory.Core().V1().Services().Lister().List(labels.Everything())
	if err != nil {
		return nil, err
	}
	for _, service := range services {
		if service.Spec.ClusterIP == host {
			return k.dialService(service.Namespace, service.Name, port)
		}
	}
	return nil, fmt.Errorf("no route to %s", address)
}

// dialService connects to one of the ready Pods behind a Service's port.
func (k *kubelet) dialService(namespace, name string, port int) (net.Conn, error) {
	service, err := k.factory.Core().V1().Services().Lister().Services(namespace).Get(name)
	if err != nil {
		return nil, err
	}
	portName, known := "", false
	for _, declared := range service.Spec.Ports {
		if int(declared.Port) == port {
			portName, known = declared.Name, true
		}
	}
	if !known {
		return nil, fmt.Errorf("service %s/%s has no port %d", namespace, name, port)
	}
	slices, err := k.factory.Discovery().V1().EndpointSlices().Lister().EndpointSlices(namespace).List(
		labels.SelectorFromSet(labels.Set{"kubernetes.io/service-name": name}))
	if err != nil {
		return nil, err
	}
	failure := fmt.Errorf("service %s/%s has no ready endpoint", namespace, name)
	for _, slice := range slices {
		for _, target := range slice.Ports {
			if target.Port == nil || (target.Name != nil && *target.Name != portName) {
				continue
			}
			for _, endpoint := range slice.Endpoints {
				if endpoint.Conditions.Ready == nil || !*endpoint.Conditions.Ready || len(endpoint.Addresses) == 0 {
					continue
				}
				if w := k.workerAt(endpoint.Addresses[0]); w != nil {
					connection, err := w.dial(int(*target.Port))
					if err == nil {
						return connection, nil
					}
					failure = err
				}
			}
		}
	}
	return nil, failure
}

// dial connects to a container's port, which is a socket in the data folder.
func (w *worker) dial(port int) (net.Conn, error) {
	w.mutex.Lock()
	defer w.mutex.Unlock()
	for _, c := range w.containers {
		for _, declared := range c.spec.Ports {
			if int(declared.ContainerPort) == port && c.process != nil {
				if c.faultLocked() == "slow" {
					w.mutex.Unlock()
					time.Sleep(slowAnswer)
					w.mutex.Lock()
				}
				return net.Dial("unix", w.socket)
			}
		}
	}
	return nil, fmt.Errorf("connect to %s:%d: connection refused", w.ip, port)
}

// serveEndpoint is a kubelet's HTTPS endpoint, only for clients with a certificate of the cluster's CA.
func (k *kubelet) serveEndpoint(ctx context.Context) error {
	authority, err := os.ReadFile(filepath.Join(k.dir, "pki", "ca.crt"))
	if err != nil {
		return err
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(authority)
	certificate, err := tls.LoadX509KeyPair(filepath.Join(k.dir, "pki", "kubelet.crt"), filepath.Join(k.dir, "pki", "kubelet.key"))
	if err != nil {
		return err
	}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", &tls.Config{Certificates: []tls.Certificate{certificate}, ClientCAs: pool,
		ClientAuth: tls.RequireAndVerifyClientCert, NextProtos: []string{"http/1.1"}})
	if err != nil {
		return err
	}
	k.port = listener.Addr().(*net.TCPAddr).Port
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(writer http.ResponseWriter, _ *http.Request) { fmt.Fprint(writer, "ok") })
	mux.HandleFunc("GET /containerLogs/{namespace}/{pod}/{container}", k.serveLogs)
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 30 * time.Second}
	go func() { <-ctx.Done(); server.Close() }()
	go func() {
		if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
			logf("endpoint: %v", err)
		}
	}()
	return nil
}

// serveLogs answers like a kubelet, with all its options: tailLines, sinceSeconds, sinceTime, timestamps, limitBytes,
// previous, follow.
func (k *kubelet) serveLogs(writer http.ResponseWriter, request *http.Request) {
	podName, containerName := request.PathValue("pod"), request.PathValue("container")
	w := k.workerOf(request.PathValue("namespace"), podName)
	if w == nil {
		http.Error(writer, fmt.Sprintf("pod %q not found", podName), http.StatusNotFound)
		return
	}
	var c *container
	for _, candidate := range w.containers {
		if candidate.spec.Name == containerName {
			c = candidate
		}
	}
	if c == nil {
		http.Error(writer, fmt.Sprintf("container %q in pod %q is not available", containerName, podName), http.StatusBadRequest)
		return
	}
	query := request.URL.Query()
	w.mutex.Lock()
	log, run := c.log, c.restarts
	state := c.status(w.pod)
	w.mutex.Unlock()
	if query.Get("previous") == "true" {
		if state.State.Waiting == nil || log == nil { // while it waits for its restart, the last run is still the newest file
			run--
		}
		if run < 0 || state.LastTerminationState.Terminated == nil {
			http.Error(writer, fmt.Sprintf("previous terminated container %q in pod %q not found", containerName, podName), http.StatusBadRequest)
			return
		}
	} else if log == nil {
		http.Error(writer, fmt.Sprintf("container %q in pod %q is waiting to start: %s", containerName, podName, waitingReason(state)), http.StatusBadRequest)
		return
	}
	since := time.Time{}
	if seconds := atoi(query.Get("sinceSeconds"), -1); seconds >= 0 {
		since = time.Now().Add(-time.Duration(seconds) * time.Second)
	} else if at, err := time.Parse(time.RFC3339, query.Get("sinceTime")); err == nil {
		since = at
	}
	file, err := os.Open(logFile(filepath.Join(w.dir, "logs", containerName), run))
	if err != nil {
		http.Error(writer, err.Error(), http.StatusInternalServerError)
		return
	}
	defer file.Close()
	writer.Header().Set("Content-Type", "text/plain")
	left := atoi(query.Get("limitBytes"), -1)
	stamps := query.Get("timestamps") == "true"
	send := func(entry string) bool {
		stamp, line, _ := strings.Cut(entry, " ")
		if at, err := time.Parse(time.RFC3339Nano, stamp); err == nil && at.Before(since) {
			return true
		}
		if stamps {
			line = entry
		}
		line += "\n"
		if left >= 0 && len(line) > left {
			line = line[:left]
		}
		if left >= 0 {
			left -= len(line)
		}
		_, err := io.WriteString(writer, line)
		return err == nil && left != 0
	}
	scanner := bufio.NewScanner(file)
	scanner.Buffer(make([]byte, 64*1024), 16*1024*1024)
	for _, entry := range lastLogLines(scanner, atoi(query.Get("tailLines"), -1)) {
		if !send(entry) {
			return
		}
	}
	if query.Get("follow") != "true" || query.Get("previous") == "true" {
		return
	}
	follow(request.Context(), writer, file, log, send)
}

// follow sends what is appended to a log until its container's run ends or the client is gone.
func follow(ctx context.Context, writer http.ResponseWriter, file *os.File, log *containerLog, send func(string) bool) {
	reader, partial := bufio.NewReader(file), ""
	for {
		ended := log.isClosed()
		for {
			piece, err := reader.ReadString('\n')
			partial += piece
			if err != nil {
				break
			}
			if !send(strings.TrimSuffix(partial, "\n")) {
				return
			}
			partial = ""
		}
		if flusher, ok := writer.(http.Flusher); ok {
			flusher.Flush()
		}
		if ended {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func waitingReason(state corev1.ContainerStatus) string {
	if state.State.Waiting != nil {
		return state.State.Waiting.Reason
	}
	return "ContainerCreating"
}
