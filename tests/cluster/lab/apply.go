// SPDX-License-Identifier: GPL-3.0-or-later

package main

import (
	"bytes"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
)

//go:embed base.yaml
var baseManifest []byte

// applyManifests creates or updates every object of the base manifest and of files, and waits until every CRD among
// them is established.
func applyManifests(ctx context.Context, config *rest.Config, files []string) error {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return err
	}
	discoverer, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	sources := map[string][]byte{"base.yaml": baseManifest}
	order := []string{"base.yaml"}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		sources[file] = content
		order = append(order, file)
	}
	var mapper meta.RESTMapper
	for _, source := range order {
		decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(sources[source]), 4096)
		for {
			object := &unstructured.Unstructured{}
			if err := decoder.Decode(object); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return fmt.Errorf("%s: %w", source, err)
			}
			if len(object.Object) == 0 {
				continue
			}
			kind := object.GroupVersionKind()
			var mapping *meta.RESTMapping
			if mapper != nil {
				mapping, err = mapper.RESTMapping(kind.GroupKind(), kind.Version)
			}
			if mapper == nil || err != nil { // a kind that an earlier file defined
				groups, discoverErr := restmapper.GetAPIGroupResources(discoverer)
				if discoverErr != nil {
					return discoverErr
				}
				mapper = restmapper.NewDiscoveryRESTMapper(groups)
				if mapping, err = mapper.RESTMapping(kind.GroupKind(), kind.Version); err != nil {
					return fmt.Errorf("%s: %w", source, err)
				}
			}
			var resource dynamic.ResourceInterface = client.Resource(mapping.Resource)
			if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
				resource = client.Resource(mapping.Resource).Namespace(object.GetNamespace())
			}
			options := metav1.ApplyOptions{FieldManager: "lab", Force: true}
			if _, err := resource.Apply(ctx, object.GetName(), object, options); err != nil {
				return fmt.Errorf("%s: %s %s: %w", source, kind.Kind, object.GetName(), err)
			}
			if kind.Kind == "CustomResourceDefinition" {
				if err := waitEstablished(ctx, resource, object.GetName()); err != nil {
					return fmt.Errorf("%s: %s: %w", source, object.GetName(), err)
				}
				mapper = nil
			}
		}
	}
	return nil
}

func waitEstablished(ctx context.Context, resource dynamic.ResourceInterface, name string) error {
	last := "no conditions yet"
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
		live, err := resource.Get(ctx, name, metav1.GetOptions{})
		if apierrors.IsNotFound(err) {
			return false, nil
		} else if err != nil {
			return false, err
		}
		conditions, _, _ := unstructured.NestedSlice(live.Object, "status", "conditions")
		for _, entry := range conditions {
			condition, _ := entry.(map[string]any)
			if condition["type"] == "Established" && condition["status"] == "True" {
				return true, nil
			}
			if condition["status"] != "True" {
				last = fmt.Sprintf("%v: %v", condition["reason"], condition["message"])
			}
		}
		return false, nil
	})
	if err != nil {
		return fmt.Errorf("not established: %s", last)
	}
	return nil
}
