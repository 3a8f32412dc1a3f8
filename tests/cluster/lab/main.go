// SPDX-License-Identifier: GPL-3.0-or-later

// Command lab contains every program of the embedded cluster, selected by the first argument.
// One binary is linked once, and all processes of a cluster share its pages.
package main

import (
	"fmt"
	"os"
	"sort"
	"strings"

	"github.com/distribution/distribution/v3/registry"
	_ "github.com/distribution/distribution/v3/registry/auth/htpasswd"
	_ "github.com/distribution/distribution/v3/registry/auth/silly"
	_ "github.com/distribution/distribution/v3/registry/auth/token"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/filesystem"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/inmemory"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/middleware/redirect"
	_ "github.com/distribution/distribution/v3/registry/storage/driver/s3-aws"
	crane "github.com/google/go-containerregistry/cmd/crane/cmd"
	"github.com/spf13/cobra"
	"go.etcd.io/etcd/server/v3/etcdmain"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	kubectlutil "k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllers "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"

	_ "time/tzdata"
)

// version of Kubernetes, set by the build, as it is in the servers.
var version = "v1.36.3"

// programs maps the first argument to the program, which finds that argument in os.Args[0].
var programs = map[string]func(){
	"etcd":                    func() { etcdmain.Main(os.Args) },
	"kube-apiserver":          func() { runCobra(apiserver.NewAPIServerCommand()) },
	"kube-controller-manager": func() { runCobra(controllers.NewControllerManagerCommand()) },
	"kube-scheduler":          func() { runCobra(scheduler.NewSchedulerCommand()) },
	"kubectl":                 runKubectl,
	"registry":                runRegistry,
	"certificate":             runCertificate,
	"crane":                   runCrane,
	"kubelet":                 runKubelet,
	"supervise":               runSupervisor,
}

func runCobra(command *cobra.Command) { os.Exit(cli.Run(command)) }

func runKubectl() {
	if err := cli.RunNoErrOutput(kubectl.NewDefaultKubectlCommand()); err != nil {
		kubectlutil.CheckErr(err)
	}
}

func runRegistry() {
	if registry.RootCmd.Execute() != nil {
		os.Exit(1)
	}
}

func runCrane() {
	if crane.New("crane", "Push, pull and inspect images", nil).Execute() != nil {
		os.Exit(1)
	}
}

func main() {
	names := make([]string, 0, len(programs))
	for name := range programs {
		names = append(names, name)
	}
	sort.Strings(names)
	if len(os.Args) < 2 || programs[os.Args[1]] == nil {
		fmt.Fprintf(os.Stderr, "usage: %s PROGRAM [ARGUMENTS]\nprograms: %s\n", os.Args[0], strings.Join(names, ", "))
		os.Exit(2)
	}
	run := programs[os.Args[1]]
	os.Args = os.Args[1:]
	watchLifeline()
	run()
}
