// nextflow run docs/how_to/workflows/main.nf
// Anything below can be set on the command line, e.g. --n_draws 100.

params.model = 'example/model'
params.fasta = 'example/data/genome.fa'
params.regions = 'example/data/regions.bed'
params.vcf = 'example/data/variants.vcf'
params.exposure = 'FOXA2'
params.outcome = 'DNase'
params.n_draws = 30
params.contigs = 'chr1,chr2,chr3'
params.results = 'results'

process ISM {
    publishDir params.results, mode: 'copy'

    input:
    path model
    path fasta
    path regions

    output:
    path 'ism.h5'

    script:
    """
    OMP_NUM_THREADS=${task.cpus} kipoi mcdropout ism ${model} --source dir -f ${fasta} --regions ${regions} \\
        --scores logit --target ${params.exposure} ${params.outcome} \\
        --n_draws ${params.n_draws} --seed 0 --keep_draws -o ism.h5
    """
}

process MR {
    publishDir params.results, mode: 'copy'

    input:
    path ism

    output:
    path 'mr.tsv'

    script:
    """
    kipoi mcdropout mr ${ism} --exposure ${params.exposure} --outcome ${params.outcome} \\
        --min_z 2 --one_per_position -o mr.tsv
    """
}

process VARIANTS {
    publishDir params.results, mode: 'copy'

    input:
    path model
    path fasta
    path vcf
    each contig

    output:
    path "${contig}.vcf.gz"
    path "${contig}.parquet"
    path "${contig}.skipped.tsv"

    script:
    """
    OMP_NUM_THREADS=${task.cpus} kipoi mcdropout score_variants ${model} --source dir \\
        -i ${vcf} -f ${fasta} --region ${contig} --target ${params.exposure} ${params.outcome} \\
        --n_draws ${params.n_draws} --seed 0 \\
        -o ${contig}.vcf.gz -t ${contig}.parquet --skipped ${contig}.skipped.tsv
    """
}

workflow {
    model = file(params.model)
    fasta = file(params.fasta)
    MR(ISM(model, fasta, file(params.regions)))
    VARIANTS(model, fasta, file(params.vcf), Channel.fromList(params.contigs.tokenize(',')))
}
