{{- define "tagwarden.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 50 | trimSuffix "-" -}}
{{- end -}}

{{- define "tagwarden.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 50 | trimSuffix "-" -}}
{{- else if contains (include "tagwarden.name" .) .Release.Name -}}
{{- .Release.Name | trunc 50 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "tagwarden.name" .) | trunc 50 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "tagwarden.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride -}}
{{- end -}}

{{- /* The name of objects that no namespace keeps apart. */ -}}
{{- define "tagwarden.clusterName" -}}
{{- printf "%s-%s" (include "tagwarden.namespace" .) (include "tagwarden.fullname" .) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /* What never changes: selectors cannot. */ -}}
{{- define "tagwarden.selector" -}}
app.kubernetes.io/name: {{ include "tagwarden.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "tagwarden.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{ include "tagwarden.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "tagwarden.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{- default (include "tagwarden.fullname" .) .Values.serviceAccount.name -}}
{{- else -}}
{{- default "default" .Values.serviceAccount.name -}}
{{- end -}}
{{- end -}}

{{- define "tagwarden.image" -}}
{{- $registry := default .Values.image.registry (.Values.global).imageRegistry -}}
{{- $image := .Values.image.repository -}}
{{- if $registry -}}{{- $image = printf "%s/%s" $registry $image -}}{{- end -}}
{{- if .Values.image.digest -}}
{{- printf "%s@%s" $image .Values.image.digest -}}
{{- else -}}
{{- printf "%s:%s" $image (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}
{{- end -}}

{{- /* Names, or objects with a name; those of `global` are of both forms in the wild. */ -}}
{{- define "tagwarden.pullSecrets" -}}
{{- $secrets := list -}}
{{- range concat (default list (.Values.global).imagePullSecrets) .Values.imagePullSecrets -}}
{{- $name := kindIs "string" . | ternary . (get (kindIs "map" . | ternary . dict) "name") -}}
{{- $secrets = append $secrets (dict "name" $name) -}}
{{- end -}}
{{- if $secrets -}}{{- toYaml (uniq $secrets) -}}{{- end -}}
{{- end -}}

{{- define "tagwarden.podSecurityContext" -}}
{{- $context := .Values.podSecurityContext -}}
{{- if eq (include "tagwarden.adapted" .) "true" -}}
{{- $context = omit $context "runAsUser" "runAsGroup" "fsGroup" -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{- define "tagwarden.securityContext" -}}
{{- $context := .Values.securityContext -}}
{{- if eq (include "tagwarden.adapted" .) "true" -}}
{{- $context = omit $context "runAsUser" "runAsGroup" -}}
{{- end -}}
{{- toYaml $context -}}
{{- end -}}

{{- define "tagwarden.adapted" -}}
{{- $how := .Values.openshift.adaptSecurityContext -}}
{{- $is := .Capabilities.APIVersions.Has "security.openshift.io/v1" -}}
{{- or (eq $how "force") (and (eq $how "auto") $is) -}}
{{- end -}}

{{- /* Whether a claim is used, and its name. */ -}}
{{- define "tagwarden.claim" -}}
{{- if and (not .Values.postgresql.existingSecret) .Values.persistence.enabled -}}
{{- default (include "tagwarden.fullname" .) .Values.persistence.existingClaim -}}
{{- end -}}
{{- end -}}

{{- define "tagwarden.roleArn" -}}
{{- default (get .Values.serviceAccount.annotations "eks.amazonaws.com/role-arn") .Values.aws.roleArn -}}
{{- end -}}

{{- /* What the controller goes by: a file for `--config`. */ -}}
{{- define "tagwarden.settings" -}}
{{- $settings := deepCopy .Values.settings }}
{{- $_ := set $settings "controlPlane" "kubernetes" }}
{{- $_ := set $settings "namespace" (include "tagwarden.namespace" .) }}
{{- with .Values.watchNamespaces }}
{{- $_ := set $settings "watchNamespaces" . }}
{{- end }}
{{- if and .Values.server.enabled .Values.server.tlsSecret }}
{{- $_ := set $settings "tlsCert" "/etc/tagwarden-tls/tls.crt" }}
{{- $_ := set $settings "tlsKey" "/etc/tagwarden-tls/tls.key" }}
{{- end }}
{{- if .Values.resourceTypes }}
{{- $_ := set $settings "resourceTypes" "/etc/tagwarden/resource-types.yaml" }}
{{- end }}
{{- toYaml $settings -}}
{{- end -}}

{{- /* What cannot work is refused before anything is made. */ -}}
{{- define "tagwarden.refuse" -}}
{{- if and (gt (int .Values.replicas) 1) (not .Values.postgresql.existingSecret) -}}
{{- fail (printf "replicas: %d replicas need PostgreSQL, since a SQLite file has one process: set postgresql.existingSecret to a Secret with the URL of a database, or leave replicas at 1" (int .Values.replicas)) -}}
{{- end -}}
{{- if and .Values.aws.roleArn (not .Values.serviceAccount.create) -}}
{{- fail "aws.roleArn: it becomes an annotation of the service account, which serviceAccount.create: false leaves to you: annotate that account with eks.amazonaws.com/role-arn, and leave aws.roleArn empty" -}}
{{- end -}}
{{- end -}}
